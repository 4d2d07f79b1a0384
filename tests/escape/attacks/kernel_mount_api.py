"""Makes a file system by the newer calls."""
CLASS = "kernel surface"
RIGHT = "E"
STOPS = {"seccomp": "no such calls", "identity": "no CAP_SYS_ADMIN"}


def main(world):
    return attempt(call, 430, b"tmpfs", 0)
