"""Stops itself: a process that is stopped does not see its own limits."""
CLASS = "time"
RIGHT = "K"
STATUS = ("time_limit",)
STOPS = {"supervisor": "its timer, and SIGKILL ends what is stopped", "front": "its own deadline"}
OPTIONS = {"limits": {"wall_ms": 200}}


def main():
    import signal, time
    began = time.monotonic()
    os.kill(os.getpid(), signal.SIGSTOP)
    while time.monotonic() < began + 3:  # where PID 1 cannot be stopped from inside
        time.sleep(0.1)
    return through("it lives")


def around(server, world):
    """What stopped is let go on in the end, where nobody has ended it."""
    import harness, signal, threading, time
    over = threading.Event()

    def wake():
        while not over.wait(4):
            for process in harness.descendants(server.pid):
                os.kill(process.pid, signal.SIGCONT)

    waker = threading.Thread(target=wake)
    waker.start()
    try:
        yield {}
    finally:
        over.set()
        waker.join()
