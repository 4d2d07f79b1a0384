"""Asks for the futex operations that had holes: priority inheritance, requeueing, several at once, an operation in user memory."""
CLASS = "kernel interfaces that take no privilege"
RIGHT = "E"
STOPS = {"seccomp": "waiting and waking only"}
SINGLE = "the kernel gives them to everybody"


def main(world):
    word = ctypes.create_string_buffer(64)
    other = ctypes.create_string_buffer(64)
    def futex(operation):
        return attempt(call, "futex", word, operation, 0, 0, other, 0)
    outcomes = {name: futex(number) for name, number in {
        "REQUEUE": 3, "CMP_REQUEUE": 4, "WAKE_OP": 5, "TRYLOCK_PI": 8, "CMP_REQUEUE_PI": 12, "private REQUEUE": 3 | 128,
        "high bits": 3 | 1 << 32}.items()}
    outcomes["waitv"] = attempt(call, "futex_waitv", word, 0, 0, None, 0)
    own = {name: outcome for name, outcome in outcomes.items() if outcome.get("held") not in ("ENOSYS", "EPERM")}
    return through(f"the kernel's own answers: {own}") if own else any_of(outcomes)
