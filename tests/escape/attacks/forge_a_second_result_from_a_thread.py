# with _report.py
"""A thread that goes on writing to the channel while main()'s own result is being sent."""
CLASS = "forged result or status"
RIGHT = "S"
STATUS = ("script_error", "exited", "output_limit")
STOPS = {"front": "nothing may stand around the report"}


def main():
    import threading
    sent = threading.Event()

    def write():
        while True:
            put(frame(RESULT, FORGED))
            sent.set()

    threading.Thread(target=write, daemon=True).start()
    sent.wait()
    return {"honest": True}


def around(server, world):
    record = yield {}
    return "a success, though the channel held more" if record["status"] == "ok" else None
