"""Objects, hooks and exit handlers that compute for ever once main() has returned."""
CLASS = "time"
RIGHT = "N"
STOPS = {}


class Stays:
    def __del__(self):
        while True:
            pass


def main():
    import atexit, gc, threading, weakref
    atexit.register(Stays.__del__, None)
    threading._shutdown = lambda: Stays.__del__(None)
    gc.callbacks.append(lambda *_: Stays.__del__(None))
    sys.ring = [Stays()]
    sys.ring.append(sys.ring)
    weakref.finalize(sys.ring[0], Stays.__del__, None)
    return {}
