"""Files that it has removed and keeps open: in no directory, and still on the disk."""
CLASS = "files without a name, or with holes"
RIGHT = "E"
STATUS = ("ok", "disk_limit")
STOPS = {"root": "the tmpfs counts them"}
SINGLE = "no look at a directory finds what has no name; each is bounded by RLIMIT_FSIZE, their number by RLIMIT_NOFILE"


def main():
    total = 0
    try:
        for number in range(24):
            fd = os.open("gone", os.O_RDWR | os.O_CREAT)
            os.unlink("gone")
            total += os.write(fd, bytes(1 << 20))
    except OSError as error:
        return held(f"{errno.errorcode[error.errno]} after {total}")
    return through(f"{total} bytes without a name under a limit of 2 MiB")
