"""Sends descriptors into sockets and never takes them out: open files that are no descriptors of anybody's."""
CLASS = "descriptors"
RIGHT = "E"
STOPS = {"rlimits": "RLIMIT_NOFILE bounds what a uid has in flight"}
SINGLE = "nothing else counts what is in flight; what the kernel needs for it is in the cgroup's memory"


def main():
    import socket
    here, there = socket.socketpair()
    here.setblocking(False)
    count, kept = 0, []
    try:
        while count < 400:
            socket.send_fds(here, [b"x"], [0] * 20)
            count += 20
    except OSError as error:
        return held(f"{errno.errorcode[error.errno]} after {count}")
    return through(f"{count} descriptors in flight under a limit of 64")
