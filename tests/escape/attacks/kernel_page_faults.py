"""Handles page faults itself, which widens races in the kernel."""
CLASS = "kernel interfaces that take no privilege"
RIGHT = "K"
STOPS = {"seccomp": "no such call"}
SINGLE = "the kernel gives it to everybody for their own memory"
STATUS = ("killed",)


def main(world):
    return attempt(call, "userfaultfd", 1)
