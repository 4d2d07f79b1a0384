"""Changes its root directory, the classical way out of a chroot."""
CLASS = "kernel surface"
RIGHT = "E"
STOPS = {"seccomp": "no chroot()", "identity": "no CAP_SYS_CHROOT"}


def main(world):
    return attempt(os.chroot, ".")
