"""Files in memory (memfd_create), written and never mapped: in no address space and in no directory."""
CLASS = "memory in no address space"
RIGHT = "E"
STOPS = {"cgroup": "counts them", "seccomp": "memfd_create is denied"}
SINGLE = "without a cgroup nothing counts what is in no address space: the filter refuses to make it"


def main():
    try:
        for _ in range(50):
            fd = call("memfd_create", b"", 0)
            for _ in range(2):
                os.write(fd, bytes(1 << 20))
    except OSError as error:
        return held(errno.errorcode[error.errno])
    return through("100 MiB under a limit of 64 MiB")
