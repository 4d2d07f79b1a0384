"""Plants a module beside the standard library's."""
CLASS = "writing what is not the script's"
RIGHT = "E"
STOPS = {"root": "read-only", "landlock": "shown for reading only", "uid": "the directory is root's"}


def main(world):
    return attempt(lambda: open(os.path.dirname(os.__file__) + "/escape_marker.py", "x").close())
