"""Loads a program into the kernel."""
CLASS = "kernel interfaces that take no privilege"
RIGHT = "K"
STOPS = {"seccomp": "no such call"}
SINGLE = "where unprivileged BPF is on the kernel answers; its programs are still checked"
STATUS = ("killed",)


def main(world):
    outcome = attempt(call, 321 if os.uname().machine == "x86_64" else 280, 9999, ctypes.create_string_buffer(64), 64)
    return through("the kernel's own answer") if outcome.get("held") in ("EINVAL", "E2BIG") else outcome
