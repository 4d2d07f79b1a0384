"""Files to be returned whose names are no text, or are text that looks like something else."""
CLASS = "the API"
RIGHT = "N"
STOPS = {}

SENT = """
import os
def main():
    made = 0
    for name in (b"\\xff\\xfe", b"\\xed\\xa0\\x80", b"a\\nb", b"\\x1b[31m", b'"}],"status":"ok', b"..\\\\up", b"...", b"-rf", b"x" * 255, b"nul\\xc0\\x80"):
        try:
            os.close(os.open(name, os.O_WRONLY | os.O_CREAT)); made += 1
        except OSError:
            pass
    return {"made": made}
"""


def request(server, world):
    record = server.run(SENT, return_files=["**"])
    names = [file["path"] for file in record["files"]]
    bad = [name for name in names if ".." in name.split("/") or name.startswith("/") or "\0" in name or any("\ud800" <= each <= "\udfff" for each in name)]
    if record["status"] != "ok" or record["result"]["made"] < 8:
        return f"ended as {record['status']}: {record['error']}"
    return f"came back: {bad}" if bad else None
