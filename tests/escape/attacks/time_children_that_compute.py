"""Processes that each compute for less than the limit of one, together for much longer than the run may take."""
CLASS = "time"
RIGHT = "K"
STATUS = ("time_limit", "cpu_limit", "process_limit", "script_error")
STOPS = {"supervisor": "its timer and the CPU of all, and the kill of all", "front": "its own deadline",
         "forks": "no children"}
OPTIONS = {"limits": {"wall_ms": 300}}


def main():
    import time
    end = time.monotonic() + 3
    for _ in range(4):
        if os.fork() == 0:
            while time.monotonic() < end:
                pow(3, 20000)
            os._exit(0)
    for _ in range(4):
        os.wait()
    return through("children computed for 3 s under a limit of 0.3 s")
