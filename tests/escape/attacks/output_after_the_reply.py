"""Leaves a thread that writes on after main() has returned."""
CLASS = "output"
RIGHT = "N"
STOPS = {}


def request(server, world):
    record = server.run("import os, threading\ndef write():\n    while True:\n        os.write(1, b'late')\n"
                        "def main():\n    threading.Thread(target=write, daemon=True).start()\n    return {'a': 1}\n")
    if record["status"] not in ("ok", "output_limit"):
        return f"ended as {record['status']}"
    return None if record["status"] != "ok" or record["result"] == {"a": 1} else "another result"
