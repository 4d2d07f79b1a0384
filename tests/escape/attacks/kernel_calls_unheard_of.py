"""Tries calls that no list knows: newer ones, and numbers that no kernel has yet."""
CLASS = "kernel surface"
RIGHT = "N"
STOPS = {}


def main(world):
    known = (*range(424, 470), 500, 511, 512, 547, 1000, 65535, 1 << 30 - 1)
    killed = (425, 426, 427)  # rings: only an attack makes those
    answers = {number: attempt(call, number, -1, -1, -1, -1, -1, -1) for number in known if number not in killed}
    own = {number: answer for number, answer in answers.items() if answer.get("held") not in ("ENOSYS", "EPERM")}
    return through(f"the kernel's own answers: {own}") if own else held("all refused")
