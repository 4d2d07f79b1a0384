"""Pipes made as long as they can be and filled: memory of the kernel's that is in no address space."""
CLASS = "memory in no address space"
RIGHT = "E"
STOPS = {"cgroup": "counts what is in them", "seccomp": "their size cannot be set: 64 KiB each, as many as descriptors"}
SINGLE = "without a cgroup nothing counts what is in no address space: the filter keeps it small"
OPTIONS = {"limits": {"memory_bytes": 16 << 20}}


def main():
    total, kept = 0, []
    try:
        for _ in range(26):
            reader, writer = os.pipe()
            kept += [reader, writer]
            size = call("fcntl", writer, 1031, 1 << 20)
            os.set_blocking(writer, False)
            total += os.write(writer, bytes(size))
    except OSError as error:
        return held(f"{errno.errorcode[error.errno]} after {total} bytes")
    return through(f"{total} bytes in pipes under a limit of 16 MiB")
