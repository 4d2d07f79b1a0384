"""Has its source decoded by another codec."""
CLASS = "the interpreter"
RIGHT = "N"
STOPS = {}

SENT = "# coding: utf-7\ndef main():\n    return {'v': '+AGE-'}\n"


def request(server, world):
    record = server.run(SENT)
    return None if record["status"] in ("ok",) else f"ended as {record['status']}"
