"""Asks where the server may run, which it could narrow."""
CLASS = "other processes"
RIGHT = "E"
STOPS = {"namespaces": "another pid namespace", "seccomp": "no such call", "uid": "another user's process"}


def main(world):
    return attempt(call, 203 if os.uname().machine == "x86_64" else 122, world["zygote"], 8, ctypes.create_string_buffer(b"\xff" * 8, 8))
