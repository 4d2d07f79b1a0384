"""Nesting that would use up a recursive encoder's or parser's stack."""
CLASS = "values that are not JSON"
RIGHT = "S"
STATUS = ("contract_error",)
STOPS = {}


def main():
    value = {}
    for _ in range(100000):
        value = {"through": value}
    return value
