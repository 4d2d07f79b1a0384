# with _report.py
"""Reads the nonce out of the process's memory, sends a perfect report, and crashes."""
CLASS = "forged result or status"
RIGHT = "K"
STATUS = ("killed",)
STOPS = {"facts": "a run that died of a signal has no result, whatever it said before"}


def main():
    put(report(FORGED, own_nonce()))
    ctypes.string_at(0)
