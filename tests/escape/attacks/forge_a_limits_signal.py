"""Kills itself with the signal that the kernel sends at the CPU limit: a status that is not true."""
CLASS = "forged result or status"
RIGHT = "K"
STATUS = ("killed",)
STOPS = {}


def main():
    import signal
    os.kill(os.getpid(), signal.SIGXCPU)
    return {}


def around(server, world):
    record = yield {}
    return "a CPU limit that was not reached" if record["status"] == "cpu_limit" else None
