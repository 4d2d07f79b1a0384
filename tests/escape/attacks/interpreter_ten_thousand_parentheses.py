"""Sends the parser more nesting than it can take."""
CLASS = "the interpreter"
RIGHT = "S"
STOPS = {}

SENT = "x = " + "(" * 10000 + ")" * 10000 + "\ndef main(): return {}\n"


def request(server, world):
    record = server.run(SENT)
    return None if record["status"] in ("script_error", "contract_error") else f"ended as {record['status']}"
