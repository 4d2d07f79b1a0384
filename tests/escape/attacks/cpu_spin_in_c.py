"""One call into C that computes for ever and never looks at a signal."""
CLASS = "CPU"
RIGHT = "K"
STOPS = {
    "supervisor": "looks at the run's CPU clock",
    "rlimits": "RLIMIT_CPU is the kernel's own SIGKILL",
    "front": "its deadline ends what the wall clock should have ended",
}
OPTIONS = {"limits": {"cpu_ms": 100, "wall_ms": 3000}}


def main():
    import time
    end = time.process_time() + 2.8
    while time.process_time() < end:
        pow(3, 200000)
    return through("2.8 s of CPU under a limit of 0.1 s")
