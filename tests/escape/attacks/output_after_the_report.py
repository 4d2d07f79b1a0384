"""Threads that flood its output while main()'s result is being sent, and after."""
CLASS = "output"
RIGHT = "N"
STATUS = ("ok", "output_limit", "time_limit")
STOPS = {"supervisor": "ends it at the front's word", "front": "keeps what the limit says and drops the rest"}


def main():
    import threading, time

    def flood():
        while True:
            os.write(1, bytes(1 << 15))
            time.sleep(0.01)

    for _ in range(2):
        threading.Thread(target=flood, daemon=True).start()
    time.sleep(3)
    return {}


def around(server, world):
    record = yield {}
    kept, wall = len(record["stdout"]), record["usage"]["wall_ms"]
    return f"{kept} characters in {wall} ms under a limit of 65,536" if kept > 65536 and wall >= 3000 else None
