# with _report.py
"""Reads the nonce out of the process's memory and sends a perfect report around a text that is no JSON."""
CLASS = "forged result or status"
RIGHT = "S"
STOPS = {"front": "the strict checker takes only what the encoder would have written"}


def main():
    put(report(b'{"through": NaN, "and": \'more\'}', own_nonce()))
    os._exit(0)
