"""Threads in calls that hold no lock of the interpreter's, each below the limit that all have together."""
CLASS = "CPU"
RIGHT = "K"
STOPS = {"supervisor": "looks at the CPU of all", "rlimits": "RLIMIT_CPU counts all threads of a process", "front": "its own deadline"}
OPTIONS = {"limits": {"cpu_ms": 100, "wall_ms": 3000}}


def main():
    import hashlib, threading, time

    def work():
        while time.process_time() < 2.8:
            hashlib.pbkdf2_hmac("sha256", b"", b"", 100000)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return through("2.8 s of CPU under a limit of 0.1 s")
