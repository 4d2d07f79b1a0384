"""Looks for descriptors that were left open: files, directories, sockets of the server's, another run's pipes."""
CLASS = "reading what is not the script's"
RIGHT = "N"
STOPS = {}
OPTIONS = {"stdin": "its own"}


def main(world):
    import stat
    found = {}
    for fd in range(4096):
        try:
            status = os.fstat(fd)
        except OSError:
            continue
        found[fd] = stat.filemode(status.st_mode)
    pipes = {fd: mode for fd, mode in found.items() if fd in (1, 2, 3) and mode[0] == "p"}
    rest = {fd: mode for fd, mode in found.items() if fd not in pipes and not (fd == 0 and mode[0] == "-")}
    return through(rest) if rest or len(pipes) != 3 else held("three pipes and its standard input")
