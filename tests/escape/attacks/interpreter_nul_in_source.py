"""Hides source behind a NUL."""
CLASS = "the interpreter"
RIGHT = "S"
STOPS = {}

SENT = "def main():\n    return {}\n\0import os\n"


def request(server, world):
    record = server.run(SENT)
    return None if record["status"] in ("script_error", "contract_error") else f"ended as {record['status']}"
