"""Becomes the tracer of the zygote, without stopping it."""
CLASS = "other processes"
RIGHT = "E"
STOPS = {"namespaces": "another pid namespace", "seccomp": "no ptrace()", "landlock": "another domain", "uid": "another user's process"}


def main(world):
    return attempt(call, "ptrace", 0x4206, world["zygote"], 0, 0)
