"""Takes uid 0."""
CLASS = "kernel surface"
RIGHT = "E"
STOPS = {"seccomp": "no setresuid()", "identity": "no CAP_SETUID", "namespaces": "no other uid is mapped"}


def main(world):
    return attempt(call, "setresuid", 0, 0, 0)
