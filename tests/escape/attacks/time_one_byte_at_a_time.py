"""Prints one byte now and then, for ever: a client that waits for the end of its output."""
CLASS = "time"
RIGHT = "K"
STATUS = ("time_limit",)
STOPS = {"supervisor": "its timer", "front": "its own deadline"}
OPTIONS = {"limits": {"wall_ms": 200}}


def main():
    import time
    end = time.monotonic() + 3
    while time.monotonic() < end:
        os.write(1, b".")
        time.sleep(0.05)
    return through("3 s under a limit of 0.2 s")
