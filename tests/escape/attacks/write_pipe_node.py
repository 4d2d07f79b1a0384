"""Makes a named pipe for the server to open."""
CLASS = "writing what is not the script's"
RIGHT = "E"
STOPS = {"seccomp": "no special files", "landlock": "no right to make one"}


def main(world):
    return attempt(os.mkfifo, "pipe")
