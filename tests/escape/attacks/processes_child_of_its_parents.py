"""Makes a process that is its parent's child, not its own (CLONE_PARENT): nobody in the jail would have it."""
CLASS = "processes"
RIGHT = "E"
STOPS = {"seccomp": "only plain forks and threads", "namespaces": "the first process of a pid namespace has no siblings"}


def main():
    def sibling(flags):
        made = call("clone", flags, 0, 0, 0, 0)
        if made == 0:
            os._exit(0)
        return made
    return any_of({"CLONE_PARENT": attempt(sibling, 0x8000 | 17), "high bits": attempt(sibling, 0x8000 | 17 | 1 << 40)})
