"""Empty files, as many as there can be."""
CLASS = "disk"
RIGHT = "E"
STATUS = ("ok", "disk_limit")
STOPS = {"root": "the tmpfs has a number of inodes", "supervisor": "looks at a box that is a directory"}


def main():
    import time
    try:
        for number in range(400):
            os.close(os.open(f"{number}", os.O_WRONLY | os.O_CREAT))
            time.sleep(0.0005)
    except OSError as error:
        return held(f"{errno.errorcode[error.errno]} after {number}")
    for _ in range(30):  # a busy machine's supervisor looks late
        time.sleep(0.1)
    return through("400 files under a limit of 128")
