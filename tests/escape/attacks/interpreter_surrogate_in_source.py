"""Sends a source that UTF-8 cannot hold."""
CLASS = "the interpreter"
RIGHT = "R"
STOPS = {}

SENT = "def main():\n    return {'v': '\ud800'}\n"


def request(server, world):
    record = server.run(SENT)
    return None if record["status"] in ("script_error", "contract_error") else f"ended as {record['status']}"
