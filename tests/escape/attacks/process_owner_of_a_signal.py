"""Makes the zygote the owner of a socket's SIGIO: whoever then writes to the socket signals it, with a number of its choice."""
CLASS = "other processes"
RIGHT = "E"
STOPS = {"namespaces": "another pid namespace has no such number", "seccomp": "owners cannot be set"}


def main(world):
    import socket
    here, there = socket.socketpair()
    return any_of({"F_SETOWN": attempt(call, "fcntl", here.fileno(), 8, world["zygote"]),
                   "high bits": attempt(call, "fcntl", here.fileno(), 8 | 1 << 32, world["zygote"])})
