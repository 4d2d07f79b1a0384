"""What runs once main() has returned: functions for the interpreter's end, finalizers, threads. None may change the result."""
CLASS = "the interpreter"
RIGHT = "N"
STATUS = ("ok",)
STOPS = {}


def main():
    import atexit, threading, weakref

    class Result(dict):
        pass

    def late(*_):
        result["through"] = "after main() returned"
        sys.stdout.write("late")
        sys.stdout.flush()

    result = Result(more=1)
    atexit.register(late)
    threading._register_atexit(late)
    weakref.finalize(result, late)
    return result


def around(server, world):
    record = yield {}
    return None if record["result"] == {"more": 1} else f"{record['result']}"
