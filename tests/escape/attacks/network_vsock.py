"""Opens a socket to the machine's hypervisor."""
CLASS = "network: families of no namespace"
RIGHT = "E"
STOPS = {"seccomp": "no such family"}
SINGLE = "not in any namespace, and rule sets do not cover it"


def main(world):
    outcome = attempt(call, "socket", 40, 1, 0)
    return through("the kernel's own answer") if outcome.get("held") == "EAFNOSUPPORT" else outcome
