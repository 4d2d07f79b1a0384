"""Pushes a byte into a terminal's input, also with high bits set in the request (bubblewrap's CVE-2017-5226, snapd's CVE-2019-7303)."""
CLASS = "kernel interfaces that take no privilege"
RIGHT = "E"
STOPS = {"seccomp": "requests are compared as 32 bits"}
SINGLE = "a run has no terminal: the kernel says so"


def main(world):
    requests = {"plain": 0x5412, "high bits": 0x5412 | 1 << 33}
    outcomes = {name: attempt(call, "ioctl", 0, request, ctypes.create_string_buffer(b"x")) for name, request in requests.items()}
    reached = [name for name, outcome in outcomes.items() if outcome.get("held") in ("ENOTTY", "EIO")]
    return through(f"the kernel's own answer: {reached}") if reached else any_of(outcomes)
