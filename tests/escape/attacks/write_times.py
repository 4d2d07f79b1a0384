"""Touches a file of the host that everybody may write."""
CLASS = "writing what is not the script's"
RIGHT = "E"
STOPS = {"root": "no such path in its tree", "seccomp": "where the tree is the host's, times are not changed by name"}


def main(world):
    def touch():
        before = os.stat(world["writable"]).st_mtime_ns
        os.utime(world["writable"])
        return os.stat(world["writable"]).st_mtime_ns != before or os.stat("/nowhere")
    return attempt(touch)
