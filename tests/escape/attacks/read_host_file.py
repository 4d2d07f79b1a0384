"""Opens a file of the host that everybody may read."""
CLASS = "reading what is not the script's"
RIGHT = "E"
STOPS = {"root": "no such path in its tree", "landlock": "not among the shown paths"}


def main(world):
    return attempt(lambda: open(world["secret"]).read())
