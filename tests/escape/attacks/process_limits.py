"""Asks for the limits of the server, which it could lower."""
CLASS = "other processes"
RIGHT = "E"
STOPS = {"namespaces": "another pid namespace", "seccomp": "only its own", "uid": "another user's process"}


def main(world):
    return attempt(call, "prlimit64", world["zygote"], 7, 0, ctypes.create_string_buffer(16))
