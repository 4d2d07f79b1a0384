"""Sets the priority of the zygote, to what it is."""
CLASS = "other processes"
RIGHT = "E"
STOPS = {"namespaces": "another pid namespace", "seccomp": "no such call", "uid": "another user's process"}


def main(world):
    return attempt(call, 141 if os.uname().machine == "x86_64" else 140, 0, world["zygote"], world["priority"])


def around(server, world):
    yield {"priority": os.getpriority(os.PRIO_PROCESS, server.zygotes()[0].pid)}
