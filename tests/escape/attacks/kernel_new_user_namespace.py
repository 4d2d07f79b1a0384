"""Makes a user namespace inside its own, to have all capabilities again."""
CLASS = "kernel surface"
RIGHT = "E"
STOPS = {"seccomp": "no unshare()", "namespaces": "none may be nested in its own"}


def main(world):
    return attempt(call, "unshare", 0x10000000)
