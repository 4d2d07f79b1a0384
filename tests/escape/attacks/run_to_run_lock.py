"""Signals another run by a lock on a file that both are shown."""
CLASS = "run to run: locks and watches"
RIGHT = "N"
STOPS = {"seccomp": "locks are granted without the kernel"}
SINGLE = "the shown files are the same inodes in every run, and nothing but the filter knows of locks"
ALONE = True

HOLDER = """
import fcntl, os, time
def main():
    held = open(os.__file__)
    fcntl.flock(held, fcntl.LOCK_EX)
    print("locked", flush=True)
    time.sleep(2)
    return {}
"""


def main(world):
    import fcntl, time
    for _ in range(30):
        try:
            fcntl.flock(open(os.__file__), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return through("the other run's lock shows")
        time.sleep(0.1)
    return held("no lock shows")


def around(server, world):
    import textwrap
    import threading
    other = threading.Thread(target=server.run, args=(textwrap.dedent(HOLDER),))
    other.start()
    yield {}
    other.join()
