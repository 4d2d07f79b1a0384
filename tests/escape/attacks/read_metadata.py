"""Asks for the size of a file of the host."""
CLASS = "names, sizes and times of files"
RIGHT = "E"
STOPS = {"root": "no such path in its tree"}
SINGLE = "names, sizes and times of files are hidden by the root layer alone: rule sets do not cover stat()"


def main(world):
    return attempt(lambda: os.stat(world["secret"]).st_size)
