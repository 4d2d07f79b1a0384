"""Connects to a named socket of the host."""
CLASS = "network: all but TCP and abstract sockets"
RIGHT = "E"
STOPS = {"seccomp": "no sockets", "root": "no such path in its tree"}
SINGLE = "named sockets are hidden by the root layer alone: rule sets do not cover connect()"


def main(world):
    import socket
    return attempt(lambda: socket.socket(socket.AF_UNIX).connect(world["name"]))


def around(server, world):
    import socket
    name = f"{world.directory}/listener"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(name)
        os.chmod(name, 0o777)
        listener.listen()
        try:
            yield {"name": name}
        finally:
            os.unlink(name)
