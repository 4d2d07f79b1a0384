# with _report.py
"""Says the end of the run with statuses that it has not, and with words that are not quite it: to be ended as something else."""
CLASS = "forged result or status"
RIGHT = "E"
STOPS = {}


def main():
    word = 0x656E64206F662072
    words = {"the low half": word & 0xFFFFFFFF, "another high half": word ^ 1 << 40, "all but a bit": word ^ 1, "nothing": 0}
    outcomes = {name: attempt(say_the_end, 0, each) for name, each in words.items()}
    outcomes.update((status, attempt(say_the_end, status)) for status in (2, 120, 137, 255, 256, -1, 1 << 31))
    return any_of(outcomes)


def around(server, world):
    record = yield {}
    return None if record["status"] == "ok" else f"ended by them: {record['error']}"
