"""An integer of 100,000 digits: all of them, or a plain refusal; never cut, never as a float."""
CLASS = "values that are not JSON"
RIGHT = "N"
STATUS = ("ok", "contract_error")
STOPS = {}


def main():
    return {"digits": 10 ** 4000 + 1}


def around(server, world):
    record = yield {}
    digits = (record["result"] or {"digits": 10 ** 4000 + 1})["digits"]
    return None if digits == 10 ** 4000 + 1 else "it is another number"
