"""Puts a symbolic link to a host file into its directory and reads through it."""
CLASS = "reading what is not the script's"
RIGHT = "E"
STOPS = {"seccomp": "no symbolic links", "root": "no such path in its tree", "landlock": "not among the shown paths"}


def main(world):
    def read():
        os.symlink(world["secret"], "link")
        return open("link").read()
    return attempt(read)
