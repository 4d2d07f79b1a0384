"""A thread that floods its output while main()'s result is being sent, and after."""
CLASS = "output"
RIGHT = "N"
STATUS = ("ok", "output_limit", "time_limit")
STOPS = {"supervisor": "ends it at the front's word", "front": "keeps what the limit says and drops the rest"}


def main():
    import threading, time

    def flood():
        while True:
            os.write(1, bytes(1 << 16))

    for _ in range(4):
        threading.Thread(target=flood, daemon=True).start()
    time.sleep(0.3)
    return {}


def around(server, world):
    record = yield {}
    return f"{len(record['stdout'])} characters under a limit of 64 KiB, where eight times as much ends a run" if len(record["stdout"]) > 2 << 20 else None
