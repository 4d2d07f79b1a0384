"""Replaces what the harness of a script would call."""
CLASS = "the interpreter"
RIGHT = "S"
STOPS = {}

SENT = "import builtins, sys, json\nfor n in dir(builtins):\n    try: setattr(builtins, n, None)\n    except Exception: pass\nsys.modules.clear()\njson.dumps = None\nasync def main():\n    return {}\n"


def request(server, world):
    record = server.run(SENT)
    return None if record["status"] in ("script_error", "contract_error", "ok", "exited") else f"ended as {record['status']}"
