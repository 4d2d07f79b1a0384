"""Fills its three directories, and what else it may write, by files that are each small enough."""
CLASS = "disk"
RIGHT = "E"
STATUS = ("ok", "disk_limit")
STOPS = {"root": "one tmpfs holds all that it can write", "supervisor": "looks at a box that is a directory"}


def main():
    import time
    box, total = os.path.dirname(os.getcwd()), 0
    try:
        for number in range(30):
            for place in ("work", "tmp", "shm"):
                with open(f"{box}/{place}/{number}", "wb", 0) as file:
                    total += file.write(bytes(256 << 10))
            time.sleep(0.01)
    except OSError as error:
        return held(f"{errno.errorcode[error.errno]} after {total}")
    for _ in range(30):  # a busy machine's supervisor looks late
        time.sleep(0.1)
    return through(f"{total} bytes in 90 files under a limit of 2 MiB")
