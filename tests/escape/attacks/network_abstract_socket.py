"""Connects to an abstract socket of the host, as in containerd's CVE-2020-15257."""
CLASS = "network"
RIGHT = "E"
STOPS = {"seccomp": "no sockets", "namespaces": "an empty network", "landlock": "abstract sockets of another domain"}


def main(world):
    import socket
    return attempt(lambda: socket.socket(socket.AF_UNIX).connect("\0" + world["name"]))


def around(server, world):
    import socket
    name = "escape-" + os.urandom(8).hex()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("\0" + name)
        listener.listen()
        yield {"name": name}
