"""Listens on a port, where the host's or another run's clients would find it."""
CLASS = "run to run: the shared network"
RIGHT = "E"
STOPS = {"seccomp": "no sockets", "landlock": "no TCP"}
SINGLE = "all runs of a zygote share one empty network: rule sets need Landlock ABI 4"


def main(world):
    import socket
    return attempt(lambda: socket.socket().bind(("0.0.0.0", 47011)))
