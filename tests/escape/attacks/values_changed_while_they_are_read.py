"""A dict that a thread, the collector's callback and a trace function change while it is turned into JSON."""
CLASS = "values that are not JSON"
RIGHT = "N"
STATUS = ("ok", "contract_error", "script_error", "time_limit", "cpu_limit", "memory_limit", "killed", "exited")
STOPS = {}
OPTIONS = {"limits": {"cpu_ms": 2000}}


def main():
    import gc, threading
    value = {str(number): [number] * 3 for number in range(5000)}

    def change(*_):
        try:
            value.pop(next(iter(value)), None)
            value[str(len(value)) + "x"] = {"a": [1]}
            value["4999"].clear()
        except Exception:
            pass
        return change

    def for_ever():
        while True:
            change()

    gc.callbacks.append(change)
    gc.set_threshold(1)
    sys.settrace(change)
    sys.setprofile(change)
    sys.setswitchinterval(1e-6)
    threading.Thread(target=for_ever, daemon=True).start()
    return value


def around(server, world):
    record = yield {}
    return None if record["status"] != "ok" or isinstance(record["result"], dict) else "a success without a dict"
