"""Floods its output."""
CLASS = "output"
RIGHT = "K"
STATUS = ("output_limit",)
STOPS = {"supervisor": "ends it at the front's word", "front": "keeps what the limit says and drops the rest"}


def main():
    for _ in range(64):
        os.write(1, bytes(1 << 16))
        os.write(2, bytes(1 << 16))
    return {}


def around(server, world):
    record = yield {}
    kept = max(len(record["stdout"]), len(record["stderr"]))
    return f"{kept} characters under a limit of 64 KiB, where eight times as much ends a run" if kept > 2 << 20 else None
