"""Opens a control group's list of processes for writing, to leave its own."""
CLASS = "writing what is not the script's"
RIGHT = "E"
STOPS = {"root": "no /sys", "landlock": "/sys is not shown", "uid": "the file is root's"}


def main(world):
    import glob
    paths = glob.glob("/sys/fs/cgroup/cgroup.procs") + glob.glob("/sys/fs/cgroup/*/cgroup.procs") + ["/sys/fs/cgroup/pids/cgroup.procs"]
    return any_of({path: attempt(lambda path=path: os.close(os.open(path, os.O_WRONLY))) for path in paths})
