"""Threads that are no daemons and never end: main() returns, the process would not."""
CLASS = "time"
RIGHT = "N"
STOPS = {}


def main():
    import threading, time
    for _ in range(4):
        threading.Thread(target=lambda: [time.sleep(1) for _ in iter(int, 1)]).start()
    return {}
