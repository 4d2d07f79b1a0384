"""Reserves room that it does not write, past its disk limit, with fallocate(2) by the raw call."""
CLASS = "disk"
RIGHT = "E"
STATUS = ("ok", "disk_limit")
STOPS = {"seccomp": "no such call", "root": "the tmpfs counts it", "rlimits": "RLIMIT_FSIZE",
         "supervisor": "looks at a box that is a directory"}


def main():
    import signal, time
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    outcome = attempt(call, "fallocate", os.open("big", os.O_RDWR | os.O_CREAT), 0, 0, 16 << 20)
    time.sleep(0.2)
    return outcome
