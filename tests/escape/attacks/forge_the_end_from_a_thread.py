# with _report.py
"""A thread sends a perfect report, with the nonce out of the process's memory, and says for main() that the run has ended well."""
CLASS = "forged result or status"
RIGHT = "K"
OPTIONS = {"limits": {"wall_ms": 300}}
STATUS = ("time_limit",)
STOPS = {"facts": "only the run's first thread ends it; this one was killed at its limit"}


def main():
    import threading, time

    def end():
        put(report(FORGED, own_nonce()))
        say_the_end()

    threading.Thread(target=end).start()
    while True:
        time.sleep(1)
