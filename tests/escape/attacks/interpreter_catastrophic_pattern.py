"""Matches a pattern that takes for ever, in C."""
CLASS = "the interpreter"
RIGHT = "K"
STOPS = {}

SENT = "import re\ndef main():\n    re.match('(a+)+$', 'a' * 60 + 'b')\n    return {}\n"


def request(server, world):
    record = server.run(SENT)
    return None if record["status"] in ("time_limit", "cpu_limit") else f"ended as {record['status']}"
