"""Detaches its own directory, to see what lies below."""
CLASS = "kernel surface"
RIGHT = "E"
STOPS = {"seccomp": "no umount2()", "identity": "no CAP_SYS_ADMIN", "landlock": "no changes of mounts"}


def main(world):
    return attempt(call, "umount2", b"/box", 2)
