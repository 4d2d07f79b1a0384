"""Reads one byte of every 2 MiB of a huge mapping: none of it is resident, but each needs a page of page tables."""
CLASS = "memory"
RIGHT = "E"
STATUS = ("ok", "memory_limit")
STOPS = {"cgroup": "counts page tables", "rlimits": "RLIMIT_AS", "supervisor": "the watchdog counts them, too"}


def main():
    import mmap, time
    size = 64 << 30
    try:
        region = mmap.mmap(-1, size, 0x4022, mmap.PROT_READ)
    except OSError as error:
        return held(errno.errorcode[error.errno])
    for at in range(0, size, 2 << 20):
        region[at]
        if at % (2 << 30) == 0:
            time.sleep(0.01)
    time.sleep(0.2)
    return through("128 MiB of page tables under a limit of 64 MiB")
