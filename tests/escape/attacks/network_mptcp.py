"""Connects by multipath TCP, which rule sets do not know as TCP."""
CLASS = "network: all but TCP and abstract sockets"
RIGHT = "E"
STOPS = {"seccomp": "no sockets", "namespaces": "an empty network"}
SINGLE = "rule sets cover TCP alone"


def main(world):
    import socket
    def connect():
        try:
            return socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262).connect(("127.0.0.1", 9))
        except OSError as error:  # a kernel without it has UDP's answer for the same wall
            if error.errno not in (errno.EPROTONOSUPPORT, errno.ENOPROTOOPT):
                raise
            return socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", 9))
    outcome = attempt(connect)
    return through("the host's own kernel refused") if outcome.get("held") == "ECONNREFUSED" else outcome
