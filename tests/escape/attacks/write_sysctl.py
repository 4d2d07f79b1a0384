"""Opens a kernel setting for writing."""
CLASS = "writing what is not the script's"
RIGHT = "E"
STOPS = {"root": "no /proc", "landlock": "/proc is not shown", "uid": "the file is root's"}


def main(world):
    return attempt(lambda: os.close(os.open("/proc/sys/kernel/hostname", os.O_WRONLY)))
