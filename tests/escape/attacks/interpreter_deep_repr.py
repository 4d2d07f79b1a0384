"""Asks for the text of a list a million deep."""
CLASS = "the interpreter"
RIGHT = "S"
STOPS = {}

SENT = "def main():\n    x = []\n    for _ in range(10**6):\n        x = [x]\n    return {'v': repr(x)}\n"


def request(server, world):
    record = server.run(SENT)
    return None if record["status"] in ("script_error", "killed", "memory_limit", "time_limit", "cpu_limit") else f"ended as {record['status']}"
