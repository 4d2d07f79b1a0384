"""Counts what the kernel and others do."""
CLASS = "kernel interfaces that take no privilege"
RIGHT = "E"
STOPS = {"seccomp": "no such call"}
SINGLE = "the kernel setting perf_event_paranoid is the host's, not ours"


def main(world):
    attributes = ctypes.create_string_buffer((1).to_bytes(4, "little") + (128).to_bytes(4, "little") + (1).to_bytes(8, "little"), 128)
    outcome = attempt(call, 298 if os.uname().machine == "x86_64" else 241, attributes, 0, -1, -1, 0)
    return through("the kernel's own answer") if outcome.get("held") in ("EACCES", "ENOENT", "EOPNOTSUPP") else outcome
