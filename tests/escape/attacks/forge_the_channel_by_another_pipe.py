# with _report.py
"""Puts a pipe of its own in the channel's place, to be told the nonce."""
CLASS = "forged result or status"
RIGHT = "S"
STOPS = {"front": "no report, no result", "facts": "the exit status says that there was no channel"}


def main():
    import threading
    reader, writer = os.pipe()
    channel = os.dup(REPORT)
    os.dup2(writer, REPORT)

    def forward():
        nonce = os.read(reader, 24)[8:]
        put(report(FORGED, nonce), channel)
        os._exit(0)

    threading.Thread(target=forward, daemon=True).start()
    return {}


def around(server, world):
    record = yield {}
    return "a success through another pipe" if record["status"] == "ok" else None
