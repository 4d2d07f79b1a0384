# with _report.py
"""A whole report, but for its nonce, before the true one of a failure."""
CLASS = "forged result or status"
RIGHT = "S"
STATUS = ("script_error", "exited")
STOPS = {"front": "nothing may stand before the nonce", "facts": "the exit status is that of a failure"}


def main():
    put(report(FORGED))
    raise ValueError
