# with _report.py
"""Reads its nonce, and sends a perfect report with returned files whose names lead a client elsewhere."""
CLASS = "forged result or status"
RIGHT = "S"
STATUS = ("contract_error", "script_error", "exited", "killed")
STOPS = {}
NAMES = (b"../../.ssh/authorized_keys", b"/etc/passwd", b"a/../../b", b"./a", b"a//b", b"", b"a\0b", b"\xff\xfe", b"\xed\xa0\x80", b"x" * 5000)


def main(world):
    name = NAMES[world["which"]]
    text = frame(NONCE, own_nonce()) + frame(RESULT, b'{}') + frame(4, name) + frame(5, b"data") + frame(END)
    put(text)
    os._exit(0)


def around(server, world):
    import corpus
    script = corpus.load()["forge_returned_files"].script
    records = [(yield {"which": 0})] + [server.run(script, input={"which": which}) for which in range(1, len(NAMES))]
    back = [record["files"] for record in records if record["status"] == "ok"]
    return f"came back: {back}" if back else None
