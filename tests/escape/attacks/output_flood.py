"""Floods its output."""
CLASS = "output"
RIGHT = "K"
STATUS = ("output_limit",)
STOPS = {"supervisor": "ends it at the front's word", "front": "keeps what the limit says and drops the rest"}


def main():
    import time
    end = time.monotonic() + 3
    while time.monotonic() < end:
        os.write(1, bytes(1 << 15))
        os.write(2, bytes(1 << 15))
        time.sleep(0.01)
    return {}


def around(server, world):
    record = yield {}
    kept, wall = max(len(record["stdout"]), len(record["stderr"])), record["usage"]["wall_ms"]
    return f"{kept} characters in {wall} ms under a limit of 65,536" if kept > 65536 and wall >= 3000 else None
