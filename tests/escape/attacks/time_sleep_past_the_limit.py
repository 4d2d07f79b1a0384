"""Sleeps for longer than its wall clock, with every signal blocked."""
CLASS = "time"
RIGHT = "K"
STOPS = {"supervisor": "its timer", "front": "its own deadline, a second later"}
OPTIONS = {"limits": {"wall_ms": 200}}


def main():
    import signal, time
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    end = time.monotonic() + 3
    while time.monotonic() < end:
        time.sleep(0.1)
    return through("3 s under a limit of 0.2 s")
