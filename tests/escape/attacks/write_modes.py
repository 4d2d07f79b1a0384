"""Changes the mode of a file of the server's."""
CLASS = "writing what is not the script's"
RIGHT = "E"
STOPS = {"root": "no such path in its tree", "uid": "the file is another user's",
         "seccomp": "where the tree is the host's, modes are not changed by name"}


def main(world):
    def change():
        os.chmod(world["writable"], 0o646)
        return os.stat(world["writable"]).st_mode & 0o777 == 0o646 or os.stat("/nowhere")
    return attempt(change)
