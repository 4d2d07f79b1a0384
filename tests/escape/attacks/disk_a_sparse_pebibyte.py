"""A sparse file of a pebibyte, and of the largest size there is."""
CLASS = "files without a name, or with holes"
RIGHT = "E"
STOPS = {"rlimits": "RLIMIT_FSIZE"}
SINGLE = "a hole takes no room: what is written into it meets the size of the file system"


def main():
    with open("sparse", "wb") as file:
        return any_of({size: attempt(file.truncate, size) for size in (1 << 50, 64 << 30)})
