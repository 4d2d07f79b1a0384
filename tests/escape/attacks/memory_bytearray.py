"""Touches more memory than it may have."""
CLASS = "memory"
RIGHT = "K"
STOPS = {"cgroup": "memory limit", "rlimits": "RLIMIT_AS", "supervisor": "the watchdog over resident memory"}


def main():
    import time
    blocks = []
    for _ in range(24):
        blocks.append(bytearray(os.urandom(1) * (8 << 20)))
        time.sleep(0.005)
    return through("192 MiB under a limit of 64 MiB")
