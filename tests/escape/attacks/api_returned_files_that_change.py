"""Children that swap, grow, cut and remove the files that are being returned."""
CLASS = "the API"
RIGHT = "N"
STOPS = {}

SENT = """
import os
def change():
    while True:
        try:
            os.replace("one", "two"); os.mkdir("one"); os.rmdir("one"); os.replace("two", "one")
            with open("three", "r+b") as file:
                file.truncate(0); file.truncate(1 << 19)
            os.link("three", "out/four"); os.unlink("out/four")
            os.rename("out", "in"); os.rename("in", "out")
        except OSError:
            pass
def main():
    os.mkdir("out")
    for name in ("one", "three"):
        open(name, "w").write("a" * 100000)
    try:
        for _ in range(3):
            os.fork() or change()
    except OSError:
        import threading
        threading.Thread(target=change, daemon=True).start()
    return {}
"""


def request(server, world):
    import base64
    for _ in range(5):
        record = server.run(SENT, return_files=["**", "*", "out/*"])
        if record["status"] not in ("ok", "script_error", "contract_error", "memory_limit"):
            return f"ended as {record['status']}"
        for file in record["files"]:
            if file["path"] not in ("one", "two", "three", "out/four", "in/four", "out/three") or len(base64.b64decode(file["content"])) != file["size"]:
                return f"came back: {file['path']}, {file['size']}"
    return None
