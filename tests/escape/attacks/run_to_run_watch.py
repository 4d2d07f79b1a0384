"""Watches which modules another run opens."""
CLASS = "run to run: locks and watches"
RIGHT = "E"
STOPS = {"seccomp": "no inotify"}
SINGLE = "the shown files are the same inodes in every run, and nothing but the filter knows of watches"
ALONE = True


def main(world):
    import ctypes, select
    library = ctypes.CDLL(None, use_errno=True)
    watch = library.inotify_init()
    if watch < 0 or library.inotify_add_watch(watch, (os.path.dirname(os.__file__) + "/__pycache__").encode(), 0x20) < 0:
        return held(errno.errorcode[ctypes.get_errno()])
    ready, _, _ = select.select([watch], [], [], 4)
    return through("another run's imports show") if ready else held("nothing seen")


def around(server, world):
    import threading
    import time
    done = threading.Event()
    def others():
        while not done.is_set():
            server.run("def main():\n    import this\n    return {}")
            time.sleep(0.1)
    other = threading.Thread(target=others)
    other.start()
    yield {}
    done.set()
    other.join()
