"""Opens descriptors for as long as it can: its own must run out, not the machine's."""
CLASS = "descriptors"
RIGHT = "E"
STOPS = {"rlimits": "RLIMIT_NOFILE"}
SINGLE = "nothing else counts descriptors; what the kernel needs for them is in the cgroup's memory"


def main():
    count = 0
    try:
        while count < 256:
            os.dup(0)
            count += 1
    except OSError as error:
        return held(f"{errno.errorcode[error.errno]} after {count}")
    return through(f"{count} descriptors under a limit of 64")
