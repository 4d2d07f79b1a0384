"""Takes a descriptor out of the server."""
CLASS = "other processes"
RIGHT = "E"
STOPS = {"namespaces": "another pid namespace", "seccomp": "no pidfds", "landlock": "another domain", "uid": "another user's process"}


def main(world):
    return attempt(lambda: call("pidfd_getfd", call("pidfd_open", world["zygote"], 0), 0, 0))
