"""Opens the password hashes of the host."""
CLASS = "reading what is not the script's"
RIGHT = "E"
STOPS = {"root": "no such path in its tree", "landlock": "not among the shown paths", "uid": "the file is root's"}


def main(world):
    return attempt(lambda: len(open("/etc/shadow").read(1)))
