"""Reads how much memory the host has, and who else runs there."""
CLASS = "reading what is not the script's"
RIGHT = "E"
STOPS = {"root": "no /proc", "landlock": "/proc is not shown"}


def main(world):
    return any_of({"memory": attempt(lambda: open("/proc/meminfo").readline()), "processes": attempt(os.listdir, "/proc")})
