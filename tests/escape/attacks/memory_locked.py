"""Locks memory, so that nothing of it can be taken away, and asks for huge pages, which no memory limit counts."""
CLASS = "memory"
RIGHT = "E"
STOPS = {"seccomp": "neither these flags nor mlock()", "rlimits": "RLIMIT_MEMLOCK is 0"}


def main():
    def locked(flags):
        return call("mmap", None, 4096, 3, 0x22 | flags, -1, 0)
    page = ctypes.create_string_buffer(8192)
    return any_of({
        "MAP_LOCKED": attempt(locked, 0x2000), "with high bits": attempt(locked, 0x2000 | 1 << 40),
        "mlock": attempt(call, "mlock", page, 4096), "mlockall": attempt(call, "mlockall", 1),
    })
