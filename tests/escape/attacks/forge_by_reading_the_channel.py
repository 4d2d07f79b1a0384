"""Reads what it has written to its outputs and its report's channel, or asks how far the reader is: the other end's business."""
CLASS = "forged result or status"
RIGHT = "N"
STOPS = {}


def main():
    outcomes = {}
    for fd in (1, 2, 3):
        os.set_blocking(fd, False)
        outcomes.update({
            f"read {fd}": attempt(os.read, fd, 100), f"seek {fd}": attempt(os.lseek, fd, 0, 0), f"cut {fd}": attempt(os.ftruncate, fd, 0),
            f"longer {fd}": attempt(call, "fcntl", fd, 1031, 1 << 20), f"map {fd}": attempt(call, "mmap", None, 4096, 1, 1, fd, 0),
        })
        os.set_blocking(fd, True)
    return any_of(outcomes)
