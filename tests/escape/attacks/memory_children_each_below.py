"""Children that each stay below the limit and together are far above it."""
CLASS = "memory"
RIGHT = "K"
STATUS = ("memory_limit", "script_error", "killed", "ok")
STOPS = {"cgroup": "counts all of them together", "forks": "no children",
         "supervisor": "sees a child where none may be, and ends the run"}


def main():
    reader, writer = os.pipe()
    for _ in range(6):
        if os.fork() == 0:
            block = bytearray(os.urandom(1) * (24 << 20))
            os.write(writer, b"x")
            os.read(reader, 0)
            while len(block):
                import time
                time.sleep(1)
    count = b""
    while len(count) < 6:
        if os.waitpid(-1, os.WNOHANG)[0]:
            return held("one was killed")
        os.set_blocking(reader, False)
        try:
            count += os.read(reader, 6)
        except BlockingIOError:
            import time
            time.sleep(0.01)
    return through("144 MiB in six processes under a limit of 64 MiB")
