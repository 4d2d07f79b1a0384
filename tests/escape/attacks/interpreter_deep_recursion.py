"""Recurses for ever, with the limit lifted."""
CLASS = "the interpreter"
RIGHT = "K"
STOPS = {}

SENT = "import sys\nsys.setrecursionlimit(10**9)\ndef main():\n    return main()\n"


def request(server, world):
    record = server.run(SENT)
    return None if record["status"] in ("killed", "memory_limit", "script_error") else f"ended as {record['status']}"
