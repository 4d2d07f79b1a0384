"""Asks the scheduler for the shortest turns, with which it would interrupt its neighbours whenever it wakes."""
CLASS = "kernel interfaces that take no privilege"
RIGHT = "E"
STOPS = {"seccomp": "no such call"}
SINGLE = "the kernel gives them to everybody"


def main(world):
    import struct
    attributes = struct.pack("=IIQiIQQQ", 48, 0, 0, world["priority"], 0, 100_000, 0, 0)
    return attempt(call, "sched_setattr", 0, ctypes.create_string_buffer(attributes), 0)


def around(server, world):
    """With the priority that it has: a better one would be another matter."""
    yield {"priority": os.getpriority(os.PRIO_PROCESS, server.pid)}
