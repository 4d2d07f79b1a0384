# with _report.py
"""Reads the nonce out of the process's memory, sends a perfect report, and then spends more than its limit."""
CLASS = "forged result or status"
RIGHT = "K"
STOPS = {"facts": "a run that was killed has no result, whatever it said before"}
OPTIONS = {"limits": {"wall_ms": 300}}


def main():
    import time
    put(report(FORGED, own_nonce()))
    while True:
        time.sleep(1)
