"""Fills its working directory."""
CLASS = "disk"
RIGHT = "E"
STATUS = ("ok", "disk_limit")
STOPS = {"root": "the tmpfs has a size", "rlimits": "RLIMIT_FSIZE bounds each file", "supervisor": "looks at a box that is a directory"}


def main():
    import time
    total = 0
    try:
        with open("full", "wb", 0) as file:
            for _ in range(24):
                total += file.write(bytes(512 << 10))
                time.sleep(0.01)
    except OSError as error:
        return held(f"{errno.errorcode[error.errno]} after {total}")
    return through(f"{total} bytes in a file under a limit of 2 MiB")
