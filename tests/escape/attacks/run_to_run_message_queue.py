"""Opens a POSIX message queue of the host."""
CLASS = "run to run"
RIGHT = "E"
STOPS = {"seccomp": "no message queues", "namespaces": "an ipc namespace of its own", "landlock": "no path to it is shown"}


def main(world):
    return attempt(call, 240 if os.uname().machine == "x86_64" else 180, b"escape", 0, 0, 0)


def around(server, world):
    import ctypes
    libc = ctypes.CDLL(None, use_errno=True)
    number = 240 if os.uname().machine == "x86_64" else 180
    before = os.umask(0)
    queue = libc.syscall(number, b"escape", os.O_RDWR | os.O_CREAT, 0o666, None)
    os.umask(before)
    try:
        yield {}
    finally:
        os.close(queue)
        libc.syscall(number + 1, b"escape")
