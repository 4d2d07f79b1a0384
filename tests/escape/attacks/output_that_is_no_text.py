"""Writes bytes that no text holds, and half a character."""
CLASS = "output"
RIGHT = "N"
STOPS = {}


def request(server, world):
    record = server.run("import os\ndef main():\n    os.write(1, bytes(range(256)) + b'\\xe2\\x82')\n    return {'a': 1}\n")
    return None if record["status"] == "ok" and "\ufffd" in record["stdout"] else f"{record['status']}: {record['stdout'][:50]!r}"
