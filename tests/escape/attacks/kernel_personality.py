"""Turns address randomisation off for what it may start."""
CLASS = "kernel interfaces that take no privilege"
RIGHT = "E"
STOPS = {"seccomp": "no such call"}
SINGLE = "reaches nobody but itself"


def main(world):
    return attempt(call, "personality", 0x0040000)
