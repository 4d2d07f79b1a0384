"""A value that holds itself, by way of a list and a tuple."""
CLASS = "values that are not JSON"
RIGHT = "S"
STOPS = {}


def main():
    value = {"through": []}
    value["through"].append((value,))
    return value
