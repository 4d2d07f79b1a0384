"""Makes a named socket that others could be led to."""
CLASS = "writing what is not the script's"
RIGHT = "E"
STOPS = {"seccomp": "no bind()", "landlock": "no right to make one"}


def main(world):
    import socket
    return attempt(lambda: socket.socket(socket.AF_UNIX).bind("socket"))
