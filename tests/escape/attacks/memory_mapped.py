"""Anonymous mappings by the raw call, touched page by page from a thread."""
CLASS = "memory"
RIGHT = "K"
STATUS = ("memory_limit", "script_error")
STOPS = {"cgroup": "memory limit", "rlimits": "RLIMIT_AS", "supervisor": "the watchdog over resident memory"}


def main():
    import mmap, threading, time

    def touch():
        for _ in range(24):
            block = mmap.mmap(-1, 8 << 20)
            for page in range(0, 8 << 20, 4096):
                block[page] = 1
            blocks.append(block)
            time.sleep(0.005)

    blocks = []
    thread = threading.Thread(target=touch)
    thread.start()
    thread.join()
    return through("192 MiB under a limit of 64 MiB") if len(blocks) == 24 else held("some were refused")
