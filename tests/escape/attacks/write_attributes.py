"""Gives a file of the host an attribute: no rule set knows of these."""
CLASS = "writing what is not the script's"
RIGHT = "E"
STOPS = {"seccomp": "no such call", "root": "the file is not there"}


def main(world):
    outcome = attempt(call, "setxattr", world["writable"].encode(), b"user.escape", b"x", 1, 0)
    return through("the file system's own answer") if outcome.get("held") == "EOPNOTSUPP" else outcome
