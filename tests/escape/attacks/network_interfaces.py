"""Asks whether a network interface of the host is up."""
CLASS = "network: all but TCP and abstract sockets"
RIGHT = "E"
STOPS = {"seccomp": "no sockets", "namespaces": "an empty network"}
SINGLE = "rule sets do not cover it"


def main(world):
    import socket
    flags = ctypes.create_string_buffer(b"lo", 40)
    def ask():
        call("ioctl", call("socket", 2, 2, 0), 0x8913, flags)
        return flags.raw[16] & 1 or os.stat("/nowhere")
    return attempt(ask)
