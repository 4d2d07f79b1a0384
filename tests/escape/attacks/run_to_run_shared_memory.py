"""Leaves System V shared memory for the next run."""
CLASS = "run to run"
RIGHT = "E"
STOPS = {"seccomp": "no System V IPC", "namespaces": "an ipc namespace of its own"}


def main(world):
    def leave():
        made = call(29 if os.uname().machine == "x86_64" else 194, 4711, 4096, 0o1666)
        return call(31 if os.uname().machine == "x86_64" else 195, made, 0, 0) + 1  # removed at once: that it could be made tells enough
    def find():
        return call(29 if os.uname().machine == "x86_64" else 194, 4712, 4096, 0)
    if not world.get("key"):
        return any_of({"left": attempt(leave)})
    return attempt(find)


def around(server, world):
    """Success is a segment that the harness made in the host's namespace and the run finds."""
    import ctypes
    libc = ctypes.CDLL(None, use_errno=True)
    segment = libc.shmget(4712, 4096, 0o1666)
    try:
        yield {"key": True}
    finally:
        libc.shmctl(segment, 0, None)
