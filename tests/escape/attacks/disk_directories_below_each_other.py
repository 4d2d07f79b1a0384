"""Directories below each other, deeper than a path can be long: whoever removes them by path, or by recursion, fails."""
CLASS = "disk"
RIGHT = "N"
STATUS = ("ok", "disk_limit")
STOPS = {}


def main():
    try:
        for _ in range(120):
            os.mkdir("d" * 200)
            os.chdir("d" * 200)
    except OSError as error:
        return held(errno.errorcode[error.errno])
    return {}
