"""Undoes what the jail has set of its process, and asks for more of it: dumpable, so that others may trace it; not ended with its parent;
system calls dispatched to a handler; a keeper of orphans; the layout of its memory."""
CLASS = "kernel interfaces that take no privilege"
RIGHT = "E"
STOPS = {"seccomp": "no prctl()"}
SINGLE = "the kernel gives these to every process, of itself"


def main(world):
    selector = ctypes.create_string_buffer(1)
    size = ctypes.create_string_buffer(4)
    return any_of({
        "PR_SET_DUMPABLE": attempt(call, "prctl", 4, 1, 0, 0, 0),
        "PR_SET_PDEATHSIG": attempt(call, "prctl", 1, 0, 0, 0, 0),
        "PR_SET_CHILD_SUBREAPER": attempt(call, "prctl", 36, 1, 0, 0, 0),
        "PR_SET_SYSCALL_USER_DISPATCH": attempt(call, "prctl", 59, 1, 0, 0, selector),
        "PR_SET_MM_MAP_SIZE": attempt(call, "prctl", 35, 15, size, 0, 0),
        "high bits": attempt(call, "prctl", 4 | 1 << 32, 1, 0, 0, 0),
    })
