"""Makes a user namespace by clone() and clone3()."""
CLASS = "kernel surface"
RIGHT = "E"
STOPS = {"seccomp": "flags are checked; clone3 is refused", "namespaces": "none may be nested in its own"}


def main(world):
    def child(make):
        pid = make()
        if pid == 0:
            os._exit(0)
        return os.waitpid(pid, 0)
    arguments = ctypes.create_string_buffer((0x10000000).to_bytes(8, "little") + bytes(24) + (17).to_bytes(8, "little"), 64)
    return any_of({
        "clone": attempt(child, lambda: call("clone", 0x10000000 | 17, 0, 0, 0, 0)),
        "clone3": attempt(child, lambda: call("clone3", arguments, 64)),
        "clone, high bits": attempt(child, lambda: call("clone", 0x5000000010000000 | 17, 0, 0, 0, 0)),
    })
