"""Shared anonymous mappings: they belong to no process alone."""
CLASS = "memory"
RIGHT = "K"
STATUS = ("memory_limit", "script_error")
STOPS = {"cgroup": "memory limit", "rlimits": "RLIMIT_AS", "supervisor": "the watchdog counts shared pages, too"}


def main():
    import mmap, time
    blocks = []
    for _ in range(24):
        blocks.append(mmap.mmap(-1, 8 << 20, mmap.MAP_SHARED | mmap.MAP_ANONYMOUS))
        for page in range(0, 8 << 20, 4096):
            blocks[-1][page] = 1
        time.sleep(0.005)
    return through("192 MiB under a limit of 64 MiB")
