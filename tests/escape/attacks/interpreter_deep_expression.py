"""Sends the compiler an expression of a hundred thousand operators."""
CLASS = "the interpreter"
RIGHT = "S"
STOPS = {}

SENT = "def main():\n    return {'v': " + "-" * 100000 + "1}\n"


def request(server, world):
    record = server.run(SENT)
    return None if record["status"] in ("script_error", "contract_error", "killed", "memory_limit", "cpu_limit", "time_limit") else f"ended as {record['status']}"
