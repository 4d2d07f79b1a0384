"""Reads the host's secret through what /proc says is a process's root, working directory or descriptor."""
CLASS = "reading what is not the script's"
RIGHT = "E"
STOPS = {"root": "there is no /proc", "landlock": "no path is shown but those listed"}


def main(world):
    def read(path):
        with open(path, encoding="utf-8") as file:
            return file.read()
    names = ("self/root", "thread-self/root", f"{os.getpid()}/root", "self/cwd/../../../../../..")
    return any_of({name: attempt(read, f"/proc/{name}{world['secret']}") for name in names})
