"""Queues a signal with data of its own for the server (signal 0, which only asks)."""
CLASS = "other processes"
RIGHT = "E"
STOPS = {"namespaces": "another pid namespace", "seccomp": "no such call", "landlock": "another domain", "uid": "another user's process"}


def main(world):
    return attempt(call, 129 if os.uname().machine == "x86_64" else 138, world["server"], 0, ctypes.create_string_buffer(b"\0" * 8 + (0xffffffff).to_bytes(4, "little"), 128))
