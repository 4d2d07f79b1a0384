"""Moves pages between files and pipes, which CVE-2026-31431 wrote the page cache with."""
CLASS = "kernel interfaces that take no privilege"
RIGHT = "E"
STOPS = {"seccomp": "no such call"}
SINGLE = "no other layer knows of it; the file itself is read-only"


def main(world):
    reader, writer = os.pipe()
    return attempt(call, "splice", os.open(os.__file__, os.O_RDONLY), 0, writer, 0, 16, 0)
