"""Sends an out-of-band byte over a pair of Unix sockets (CVE-2025-38236)."""
CLASS = "kernel interfaces that take no privilege"
RIGHT = "E"
STOPS = {"seccomp": "no such flag"}
SINGLE = "the kernel gives them to everybody"


def main(world):
    import socket
    here, there = socket.socketpair()
    outcomes = {name: attempt(here.send, b"x", flag) for name, flag in {"MSG_OOB": 1, "MSG_ZEROCOPY": 0x4000000}.items()}
    outcomes["sendmsg"] = attempt(here.sendmsg, [b"x"], [], 1)
    own = {name: outcome for name, outcome in outcomes.items() if outcome.get("held") == "EOPNOTSUPP"}
    return through(f"the kernel's own answer: {own}") if own else any_of(outcomes)
