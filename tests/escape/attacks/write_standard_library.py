"""Opens a module of the standard library, which every later run imports, for writing."""
CLASS = "writing what is not the script's"
RIGHT = "E"
STOPS = {"root": "read-only", "landlock": "shown for reading only", "uid": "the file is root's"}


def main(world):
    return attempt(lambda: os.close(os.open(os.__file__, os.O_RDWR)))
