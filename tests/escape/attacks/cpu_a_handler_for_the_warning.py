"""Ignores and handles whatever a CPU limit could send before it kills, and computes in a signal handler."""
CLASS = "CPU"
RIGHT = "K"
STOPS = {"supervisor": "looks at the run's CPU clock", "rlimits": "the hard limit is SIGKILL", "front": "its own deadline"}
OPTIONS = {"limits": {"cpu_ms": 100, "wall_ms": 3000}}


def main():
    import signal, time

    def spin(*_):
        while time.process_time() < 2.8:
            pass

    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, spin)
    signal.alarm(1)
    spin()
    return through("2.8 s of CPU under a limit of 0.1 s")
