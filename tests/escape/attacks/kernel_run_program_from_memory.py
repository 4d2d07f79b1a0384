"""Writes a program into a memory file and starts that: it is on no mount, so neither noexec nor a rule set knows it."""
CLASS = "kernel interfaces that take no privilege"
RIGHT = "E"
STOPS = {"seccomp": "neither memory files nor execve()"}
SINGLE = "memory files are on no mount"


def main(world):
    try:
        fd = call("memfd_create", b"", 1)
    except OSError as error:
        fd = 0
    os.write(fd, program()) if fd else None
    return attempt(call, "execveat", fd, b"", None, None, 0x1000)


def program():
    """The smallest that ends with status 42."""
    import struct
    code = b"\xbf\x2a\0\0\0\xb8\xe7\0\0\0\x0f\x05"
    head = b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, 0x400078, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    return head + struct.pack("<IIQQQQQQ", 1, 5, 0, 0x400000, 0x400000, 120 + len(code), 120 + len(code), 4096) + code


def around(server, world):
    record = yield {}
    return "another program ran in the jail" if "status 42" in ((record["error"] or {}).get("message") or "") else None
