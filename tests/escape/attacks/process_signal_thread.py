"""Signals a thread of the server by tgkill() and tkill()."""
CLASS = "other processes"
RIGHT = "E"
STOPS = {"namespaces": "another pid namespace", "seccomp": "only to itself", "landlock": "another domain", "uid": "another user's process"}


def main(world):
    return any_of({"tgkill": attempt(call, "tgkill", world["server"], world["server"], 0), "tkill": attempt(call, "tkill", world["server"], 0)})
