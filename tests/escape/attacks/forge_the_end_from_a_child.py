# with _report.py
"""A child sends a perfect report, with the nonce out of its memory, and says that the run has ended well; the run goes on."""
CLASS = "forged result or status"
RIGHT = "K"
OPTIONS = {"limits": {"wall_ms": 300}}
STATUS = ("time_limit", "script_error")
STOPS = {"facts": "only the run's first process ends it; that one was killed at its limit", "forks": "no children"}


def main():
    import time
    if os.fork() == 0:
        put(report(FORGED, own_nonce()))
        say_the_end()
    while True:
        time.sleep(1)
