"""Leaves a lease, an open-file lock or a notification on a file that other runs are shown."""
CLASS = "run to run: locks and watches"
RIGHT = "E"
STOPS = {"seccomp": "leases, notifications and such locks cannot be set"}
SINGLE = "the shown files are the same inodes in every run, and nothing but the filter knows of these"


def main(world):
    import struct
    file, directory = os.open(os.__file__, os.O_RDONLY), os.open(os.path.dirname(os.__file__), os.O_RDONLY)
    lock = ctypes.create_string_buffer(struct.pack("hhqqi", 0, 0, 0, 1, 0) + bytes(16))
    return any_of({
        "F_OFD_SETLK": attempt(call, "fcntl", file, 37, lock),
        "F_SETLEASE": attempt(call, "fcntl", file, 1024, 0),
        "F_NOTIFY": attempt(call, "fcntl", directory, 1026, 1),
        "high bits": attempt(call, "fcntl", file, 37 | 1 << 32, lock),
    })
