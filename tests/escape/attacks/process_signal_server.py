"""Signals the server (with signal 0, which only asks)."""
CLASS = "other processes"
RIGHT = "E"
STOPS = {"namespaces": "another pid namespace", "seccomp": "only to itself", "landlock": "another domain", "uid": "another user's process"}


def main(world):
    return attempt(os.kill, world["server"], 0)
