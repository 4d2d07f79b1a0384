"""Sends a datagram, as a look-up of a name would."""
CLASS = "network: all but TCP and abstract sockets"
RIGHT = "E"
STOPS = {"seccomp": "no sockets", "namespaces": "an empty network"}
SINGLE = "rule sets do not cover UDP"


def main(world):
    import socket
    return attempt(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", 9)))
