"""Binds a socket of the kernel's cryptography, the door of CVE-2026-31431."""
CLASS = "network: families of no namespace"
RIGHT = "E"
STOPS = {"seccomp": "no such family"}
SINGLE = "no other layer knows of socket families; where it matters the module can be kept from loading"


def main(world):
    outcome = attempt(call, "socket", 38, 5, 0)
    return through("the kernel's own answer") if outcome.get("held") == "EAFNOSUPPORT" else outcome
