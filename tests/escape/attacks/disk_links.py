"""One empty file under as many names as there can be: no byte, and each a piece of the kernel's memory."""
CLASS = "disk"
RIGHT = "E"
STATUS = ("ok", "disk_limit")
STOPS = {"root": "the tmpfs counts names as inodes", "supervisor": "looks at a box that is a directory"}


def main():
    import time
    os.close(os.open("file", os.O_WRONLY | os.O_CREAT))
    try:
        for number in range(400):
            os.link("file", f"{number}")
            time.sleep(0.0005)
    except OSError as error:
        return held(f"{errno.errorcode[error.errno]} after {number}")
    for _ in range(30):  # a busy machine's supervisor looks late
        time.sleep(0.1)
    return through("400 names under a limit of 128")
