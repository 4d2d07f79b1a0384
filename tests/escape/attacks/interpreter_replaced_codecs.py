"""Codecs, error handlers and standard streams of its own in place of the interpreter's, for the text that it returns and prints."""
CLASS = "the interpreter"
RIGHT = "N"
STATUS = ("ok", "script_error", "contract_error")
STOPS = {}


def main():
    import codecs, io
    lie = lambda *_: (b'{"through":"by a codec"}', 1)
    codecs.register(lambda name: codecs.CodecInfo(lie, lie, name=name))
    for error in ("strict", "surrogatepass", "replace", "backslashreplace"):
        codecs.register_error(error, lambda problem: (b'","through":"by a handler', problem.end))
    sys.modules["encodings.utf_8"].encode = lie
    sys.modules["json"] = None

    class Stream(io.TextIOBase):
        def flush(self):
            raise SystemError("through")

        def fileno(self):
            return 3
    sys.stdout = sys.stderr = sys.__stdout__ = Stream()
    return {"text": "\u00fc\U0001f600", "more": "\x00\x1f"}


def around(server, world):
    record = yield {}
    return None if record["status"] != "ok" or record["result"] == {"text": "\u00fc\U0001f600", "more": "\x00\x1f"} else f"{record['result']}"
