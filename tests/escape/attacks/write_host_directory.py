"""Makes a file in a directory of the host that everybody may write."""
CLASS = "writing what is not the script's"
RIGHT = "E"
STOPS = {"root": "no such path in its tree", "landlock": "not among the shown paths"}


def main(world):
    return attempt(lambda: open("/var/tmp/escape-marker", "x").close())
