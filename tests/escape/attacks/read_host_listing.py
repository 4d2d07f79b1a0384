"""Lists a directory of the host."""
CLASS = "reading what is not the script's"
RIGHT = "E"
STOPS = {"root": "no such path in its tree", "landlock": "not among the shown paths"}


def main(world):
    return attempt(os.listdir, world["directory"])
