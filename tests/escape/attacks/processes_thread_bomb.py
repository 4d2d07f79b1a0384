"""Starts threads for as long as it can."""
CLASS = "processes"
RIGHT = "E"
STATUS = ("ok", "process_limit")
STOPS = {"cgroup": "pids limit", "rlimits": "RLIMIT_NPROC", "supervisor": "counts threads where no cgroup does"}


def main():
    import threading, time
    stay, made = threading.Event(), 0
    threading.stack_size(65536)
    try:
        while made < 24:
            threading.Thread(target=stay.wait, daemon=True).start()
            made += 1
    except RuntimeError as error:
        return held(f"{error} after {made}")
    time.sleep(0.2)
    return through(f"{made} threads under a limit of 16")
