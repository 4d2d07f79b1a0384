"""Reads the memory of the zygote, whose layout it shares."""
CLASS = "other processes"
RIGHT = "E"
STOPS = {"namespaces": "another pid namespace", "seccomp": "no such call", "landlock": "another domain", "uid": "another user's process"}


def main(world):
    byte = ctypes.create_string_buffer(1)
    local = (ctypes.c_size_t * 2)(ctypes.addressof(byte), 1)
    remote = (ctypes.c_size_t * 2)(id(None), 1)
    return attempt(call, "process_vm_readv", world["zygote"], local, 1, remote, 1, 0)
