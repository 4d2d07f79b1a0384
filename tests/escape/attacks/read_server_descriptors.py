"""Lists what the server has open."""
CLASS = "reading what is not the script's"
RIGHT = "E"
STOPS = {"root": "no /proc", "landlock": "/proc is not shown", "uid": "another user's process"}


def main(world):
    return attempt(os.listdir, f"/proc/{world['server']}/fd")
