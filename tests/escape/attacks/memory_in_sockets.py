"""Fills the buffers of as many socket pairs as it can have, and of more that are in flight: memory of the kernel's."""
CLASS = "memory in no address space"
RIGHT = "E"
STATUS = ("ok", "memory_limit")
STOPS = {"cgroup": "counts what is in them", "rlimits": "RLIMIT_NOFILE bounds the sockets, also those in flight"}
SINGLE = "without a cgroup nothing counts what is in no address space: the number of descriptors bounds it"


def main():
    import socket
    total, kept, block = 0, [], bytes(1 << 16)
    try:
        while total < 100 << 20:
            pair = socket.socketpair()
            kept.append(pair)
            for end in pair:
                end.setblocking(False)
                try:
                    while True:
                        total += end.send(block)
                except BlockingIOError:
                    pass
    except OSError as error:
        return held(f"{errno.errorcode[error.errno]} after {total} bytes")
    return through(f"{total} bytes in sockets under a limit of 64 MiB")
