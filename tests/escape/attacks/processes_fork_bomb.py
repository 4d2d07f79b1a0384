"""Forks as often as it can, each child again."""
CLASS = "processes"
RIGHT = "E"
STATUS = ("ok", "process_limit", "script_error")
STOPS = {"cgroup": "pids limit", "rlimits": "RLIMIT_NPROC", "forks": "no children",
         "supervisor": "sees a child where none may be, and ends the run"}


def main():
    import time
    made = 0
    try:
        while made < 24:
            if os.fork() == 0:
                time.sleep(30)
            made += 1
    except OSError as error:
        return held(f"{errno.errorcode[error.errno]} after {made}")
    time.sleep(0.2)
    return through(f"{made} children under a limit of 16")
