"""Connects to a port of the host."""
CLASS = "network"
RIGHT = "E"
STOPS = {"seccomp": "no sockets", "namespaces": "an empty network", "landlock": "no TCP"}


def main(world):
    import socket
    outcome = attempt(lambda: socket.socket().connect(("127.0.0.1", 9)))
    return through("the host's own kernel refused") if outcome.get("held") == "ECONNREFUSED" else outcome
