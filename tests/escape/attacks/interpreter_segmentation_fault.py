"""Crashes the interpreter by reading address 0."""
CLASS = "the interpreter"
RIGHT = "K"
STOPS = {}

SENT = "import ctypes\ndef main():\n    ctypes.string_at(0)\n    return {}\n"


def request(server, world):
    record = server.run(SENT)
    return None if record["status"] in ("killed",) else f"ended as {record['status']}"
