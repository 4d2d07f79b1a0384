"""A result that is longer than results may be, from few bytes of memory."""
CLASS = "values that are not JSON"
RIGHT = "K"
STATUS = ("output_limit", "memory_limit")
STOPS = {}


def main():
    text = "x" * (1 << 20)
    return {"through": [text] * 20}
