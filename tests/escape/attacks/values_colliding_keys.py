"""Keys that are one and the same name once they are strings."""
CLASS = "values that are not JSON"
RIGHT = "S"
STOPS = {}


def main():
    return {1: "through", "1": "or not", "through": "two values for one name"}
