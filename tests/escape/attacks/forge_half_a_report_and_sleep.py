# with _report.py
"""Half of a report, and no more: a reader without a deadline would wait for the rest."""
CLASS = "forged result or status"
RIGHT = "K"
STATUS = ("time_limit",)
STOPS = {"supervisor": "its timer", "front": "its own deadline, and half a report is none"}
OPTIONS = {"limits": {"wall_ms": 200}}


def main():
    import time
    put(report(FORGED)[:-4])
    end = time.monotonic() + 3
    while time.monotonic() < end:
        time.sleep(0.1)
    os._exit(0)


def around(server, world):
    record = yield {}
    return f"it went on for {record['usage']['wall_ms']} ms" if record["usage"]["wall_ms"] >= 3000 else None
