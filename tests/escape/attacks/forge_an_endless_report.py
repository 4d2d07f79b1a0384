# with _report.py
"""Writes to the channel for ever."""
CLASS = "forged result or status"
RIGHT = "K"
STATUS = ("output_limit", "time_limit")  # the latter where a busy machine takes long over so many bytes
STOPS = {"supervisor": "ends it at the front's word", "front": "its own deadline"}
OPTIONS = {"limits": {"wall_ms": 2000}}


def main():
    import time
    end = time.monotonic() + 5
    while time.monotonic() < end:
        put(bytes(1 << 20))
    os._exit(0)


def around(server, world):
    record = yield {}
    return f"it went on for {record['usage']['wall_ms']} ms" if record["usage"]["wall_ms"] >= 5000 else None
