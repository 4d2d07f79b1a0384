# with _report.py
"""Frames that say they are as long as a length can be: a reader that believes them reserves or reads that much."""
CLASS = "forged result or status"
RIGHT = "S"
STATUS = ("script_error", "exited")
STOPS = {}


def main():
    for tag in (RESULT, NONCE, 0, 0xFFFFFFFF):
        put(struct.pack("=II", tag, 0xFFFFFFFF))
    os._exit(0)


def around(server, world):
    front = server.front().pid
    record = yield {}
    return "the front died of it" if server.front().pid != front else None
