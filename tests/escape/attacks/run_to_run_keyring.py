"""Leaves a key in its user's keyring for the next run."""
CLASS = "run to run"
RIGHT = "E"
STOPS = {"seccomp": "no keys", "namespaces": "keyrings of its own user namespace", "uid": "keyrings of its own uid"}


def main(world):
    add, control = (248, 250) if os.uname().machine == "x86_64" else (217, 219)
    def ring(*arguments):
        return call(control, *arguments)
    if world["first"]:
        return attempt(call, add, b"user", b"escape", b"x", 1, -4)
    return attempt(ring, 10, -4, b"user", b"escape", 0)  # KEYCTL_SEARCH


def around(server, world):
    """The harness is the first run: a key that it has put into its own user's keyring."""
    import ctypes
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    add, control = (248, 250) if os.uname().machine == "x86_64" else (217, 219)
    key = libc.syscall(ctypes.c_long(add), b"user", b"escape", b"x", ctypes.c_long(1), ctypes.c_long(-4))
    libc.syscall(ctypes.c_long(control), ctypes.c_long(5), ctypes.c_long(key), ctypes.c_long(0x3f3f3f3f))  # KEYCTL_SETPERM
    try:
        yield {"first": False}
    finally:
        libc.syscall(ctypes.c_long(control), ctypes.c_long(9), ctypes.c_long(key), ctypes.c_long(-4))  # KEYCTL_UNLINK
