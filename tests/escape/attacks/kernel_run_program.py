"""Starts a program of the host."""
CLASS = "kernel surface"
RIGHT = "E"
STOPS = {"seccomp": "no execve()", "landlock": "no right to execute"}


def main(world):
    path = os.path.realpath(sys.executable).encode()
    arguments = (ctypes.c_char_p * 4)(b"python3", b"-c", b"print('exe' + 'cuted')", None)
    _libc.execve(path, arguments, (ctypes.c_char_p * 1)(None))
    return held(errno.errorcode[ctypes.get_errno()])


def around(server, world):
    record = yield {}
    return "another program ran in the jail" if "executed" in record["stdout"] else None
