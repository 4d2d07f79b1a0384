"""NaN and infinities, which Python's own encoder writes and JSON does not have."""
CLASS = "values that are not JSON"
RIGHT = "S"
STOPS = {}


def main():
    return {"through": [float("nan"), float("inf"), -float("inf")]}
