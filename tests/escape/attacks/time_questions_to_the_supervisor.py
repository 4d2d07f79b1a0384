"""Threads that do nothing but ask what the supervisor itself answers, and what it refuses: it is to have no time for others."""
CLASS = "time"
RIGHT = "N"
STATUS = ("ok",)
STOPS = {}
ALONE = True


def main():
    import signal, threading, time
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    end = time.monotonic() + 2

    def ask(question):
        while time.monotonic() < end:
            try:
                question()
            except OSError:
                pass

    questions = [os.getuid, os.getegid, lambda: os.kill(os.getpid(), signal.SIGUSR1), lambda: call("socket", 1, 2, 0)]
    threads = [threading.Thread(target=ask, args=(question,)) for question in questions * 3]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    return {}


def around(server, world):
    """While it asks, others are served one after the other: a run that hung would end at its limit."""
    import threading
    asked, records = threading.Event(), []

    def neighbour():
        while not asked.is_set() or not records:
            records.append(server.run("def main():\n    return {}\n"))

    other = threading.Thread(target=neighbour)
    other.start()
    yield {}
    asked.set()
    other.join()
    return next((f"a neighbour's run: {record['error']}" for record in records if record["status"] != "ok"), None)
