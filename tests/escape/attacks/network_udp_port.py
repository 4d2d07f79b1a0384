"""Takes a UDP port in the network that all runs of a zygote share, so that another run notices."""
CLASS = "run to run: the shared network"
RIGHT = "E"
STOPS = {"seccomp": "no sockets"}
SINGLE = "all runs of a zygote share one empty network, and rule sets do not cover UDP"


def main(world):
    import socket
    return attempt(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).bind(("0.0.0.0", 47012)))
