"""Dicts, lists and numbers that say one thing of themselves and hold another: in len(), items(), repr() and str()."""
CLASS = "values that are not JSON"
RIGHT = "N"
STATUS = ("ok", "contract_error", "script_error")
STOPS = {}


class Number(int):
    def __repr__(self):
        return '5,"through":"by repr"'
    __str__ = __format__ = __repr__


class Float(float):
    def __repr__(self):
        return 'NaN'
    __str__ = __repr__


class Text(str):
    def __str__(self):
        return 'a","through":"by str'
    __repr__ = __str__

    def encode(self, *_):
        return b'a","through":"by encode'

    def __hash__(self):
        return 7

    def __eq__(self, other):
        return True


class Dict(dict):
    def __len__(self):
        return 1 << 60

    def __iter__(self):
        return iter(("one",))

    def keys(self):
        return ("one",)

    def items(self):
        return [("one", Number(5)), ("two", Float(0.5)), ("three", List([1])), (Text("key"), Text("value"))]

    def __getitem__(self, key):
        return "by key"


class List(list):
    def __len__(self):
        return 0

    def __iter__(self):
        while True:
            yield "more"


def main():
    return Dict({"number": Number(5), "float": Float(0.5), Text("key"): Text("value"), "list": List([1, 2]), "inner": Dict(one=1)})


def around(server, world):
    """What a dict says of its items is its result; what they say of their own text is not believed."""
    record = yield {}
    text = str(record["result"])
    return f"text of its own in the result: {text}" if record["status"] == "ok" and ("through" in text or "nan" in text) else None
