"""Opens its own executable by /proc/self/exe, as in runc's CVE-2019-5736."""
CLASS = "reading what is not the script's"
RIGHT = "E"
STOPS = {"root": "no /proc", "landlock": "/proc is not shown"}


def main(world):
    return attempt(lambda: open("/proc/self/maps").readline())
