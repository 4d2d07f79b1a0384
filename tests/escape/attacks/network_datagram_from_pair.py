"""Names another receiver on one end of a connected pair of datagram sockets."""
CLASS = "network"
RIGHT = "E"
STOPS = {"seccomp": "only pairs of streams", "namespaces": "abstract names of another network", "landlock": "abstract sockets of another domain"}


def main(world):
    import socket
    def send():
        one, _ = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        return one.sendto(b"x", "\0" + world["name"])
    return attempt(send)


def around(server, world):
    import socket
    name = "escape-" + os.urandom(8).hex()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind("\0" + name)
        yield {"name": name}
