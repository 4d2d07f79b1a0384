"""Opens a socket for raw packets."""
CLASS = "network"
RIGHT = "E"
STOPS = {"seccomp": "no sockets", "identity": "no CAP_NET_RAW", "namespaces": "no right over a network of another user namespace"}


def main(world):
    import socket
    return any_of({"packet": attempt(socket.socket, 17, socket.SOCK_RAW), "ip": attempt(socket.socket, 2, socket.SOCK_RAW, 1)})
