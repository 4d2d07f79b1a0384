"""Meets another run by an abstract socket in the network that all share."""
CLASS = "run to run: the shared network"
RIGHT = "E"
STOPS = {"seccomp": "no sockets", "landlock": "abstract sockets of another domain"}
SINGLE = "all runs of a zygote share one empty network; scopes need Landlock ABI 6"
ALONE = True

LISTENER = """
import socket, time
def main():
    try:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind("\\0escape-run")
        listener.listen()
        time.sleep(3)
    except OSError:
        pass
    return {}
"""


def main(world):
    import socket, time
    for _ in range(30):
        outcome = attempt(lambda: socket.socket(socket.AF_UNIX).connect("\0escape-run"))
        if outcome.get("held") != "ECONNREFUSED":
            return outcome
        time.sleep(0.1)
    return outcome


def around(server, world):
    import textwrap
    import threading
    other = threading.Thread(target=server.run, args=(textwrap.dedent(LISTENER),))
    other.start()
    yield {}
    other.join()
