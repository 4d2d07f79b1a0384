"""Every function that could have a hand in the result is replaced, and the result's own methods lie."""
CLASS = "forged result or status"
RIGHT = "N"
STATUS = ("ok", "contract_error", "script_error")
STOPS = {}


class Lie(dict):
    def items(self):
        return [("mine", "a lie")]

    keys = values = __iter__ = __getitem__ = __len__ = items


def main():
    import builtins, json
    lie = lambda *arguments, **options: '{"through":"raw text"}'
    json.dumps = json.JSONEncoder.encode = json.JSONEncoder.iterencode = json.encoder.c_make_encoder = lie
    for name in ("str", "repr", "dict", "len", "isinstance", "type", "print", "iter", "next"):
        setattr(builtins, name, lie)
    return Lie(honest=True)


def around(server, world):
    record = yield {}
    return record["result"] if record["result"] == {"through": "raw text"} else None
