# with _report.py
"""A whole report, but for its nonce, written to every descriptor; then a clean exit."""
CLASS = "forged result or status"
RIGHT = "S"
STATUS = ("script_error", "exited")
STOPS = {"front": "the report must repeat a nonce that the script is not given"}


def main():
    for fd in range(3, 64):
        try:
            put(report(FORGED), fd)
        except OSError:
            pass
    os._exit(0)
