"""Writes a program into its working directory and starts it."""
CLASS = "kernel surface"
RIGHT = "E"
STOPS = {"seccomp": "no execve()", "landlock": "no right to execute", "root": "its tmpfs is noexec"}


def main(world):
    with os.fdopen(os.open("program", os.O_WRONLY | os.O_CREAT, 0o700), "wb") as file:
        file.write(program())
    return attempt(call, "execve", b"program", None, None)


def program():
    """The smallest that ends with status 42."""
    import struct
    code = b"\xbf\x2a\0\0\0\xb8\xe7\0\0\0\x0f\x05"
    head = b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, 0x400078, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    return head + struct.pack("<IIQQQQQQ", 1, 5, 0, 0x400000, 0x400000, 120 + len(code), 120 + len(code), 4096) + code


def around(server, world):
    record = yield {}
    return "another program ran in the jail" if "status 42" in ((record["error"] or {}).get("message") or "") else None
