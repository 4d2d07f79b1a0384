"""Truncates a file of the host by its name, to the size that it has."""
CLASS = "writing what is not the script's"
RIGHT = "E"
STOPS = {"seccomp": "no truncate()", "root": "no such path in its tree", "landlock": "not among the shown paths"}


def main(world):
    return attempt(call, 76 if os.uname().machine == "x86_64" else 45, world["writable"].encode(), 10)
