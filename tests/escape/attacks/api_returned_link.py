"""Has a file of the host fetched through a link among the files to be returned, as in Judge0's CVE-2024-28185."""
CLASS = "the API"
RIGHT = "N"
STOPS = {}

SENT = """
import os
def main():
    made = []
    for link in (os.symlink, os.link):
        for name in ("link.txt", "out/link.txt"):
            try:
                os.makedirs("out", exist_ok=True)
                link("/etc/hostname", name)
                made.append(name)
            except OSError:
                pass
    return {"made": made}
"""


def request(server, world):
    record = server.run(SENT, return_files=["*", "out/*"])
    if record["status"] not in ("ok", "script_error"):
        return f"ended as {record['status']}"
    return f"came back: {record['files']}" if record["files"] else None
