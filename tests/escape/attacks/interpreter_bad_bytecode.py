"""Runs bytecode that no compiler made."""
CLASS = "the interpreter"
RIGHT = "K"
STOPS = {}

SENT = "def main():\n    pass\nmain.__code__ = main.__code__.replace(co_code=bytes(range(0, 250, 2)) * 4, co_stacksize=0)\n"


def request(server, world):
    record = server.run(SENT)
    return None if record["status"] in ("killed", "script_error", "contract_error", "time_limit", "cpu_limit", "memory_limit", "exited") else f"ended as {record['status']}"
