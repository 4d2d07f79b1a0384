"""A dict whose items never end, each of them new."""
CLASS = "values that are not JSON"
RIGHT = "K"
STATUS = ("time_limit", "cpu_limit", "memory_limit", "output_limit", "contract_error", "ok")
STOPS = {}
OPTIONS = {"limits": {"cpu_ms": 500}}


class Endless(dict):
    def items(self):
        number = 0
        while True:
            number += 1
            yield str(number), number


def main():
    return {"more": Endless(one=1)}


def around(server, world):
    record = yield {}
    return "a success with more than there is" if record["status"] == "ok" and record["result"] != {"more": {"one": 1}} else None
