"""Mounts a file system of its own over its directory."""
CLASS = "kernel surface"
RIGHT = "E"
STOPS = {"seccomp": "no mount()", "identity": "no CAP_SYS_ADMIN", "landlock": "no changes of mounts"}


def main(world):
    return attempt(call, "mount", b"tmpfs", os.getcwd().encode(), b"tmpfs", 0, b"size=64k")
