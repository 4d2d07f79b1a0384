"""Changes the memory file that its standard input is, which the front has as well, or grows it, or has it written back by a mapping."""
CLASS = "writing what is not the script's"
RIGHT = "N"
STOPS = {}
OPTIONS = {"stdin": "as it was sent"}


def main(world):
    import mmap
    def mapped():
        with mmap.mmap(0, 4, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE) as view:
            view[:4] = b"evil"
    outcomes = {
        "write": attempt(os.write, 0, b"evil"), "pwrite": attempt(os.pwrite, 0, b"evil", 0), "grow": attempt(os.ftruncate, 0, 1 << 20),
        "shrink": attempt(os.ftruncate, 0, 0), "mapping": attempt(mapped), "opened again": attempt(lambda: os.write(os.open("/dev/stdin", os.O_RDWR), b"evil")),
        "seals": attempt(call, "fcntl", 0, 1033, 0),
    }
    outcomes["past its end"] = attempt(lambda: os.pread(0, 100, 14) or (_ for _ in ()).throw(OSError(errno.ENODATA, "")))
    return any_of(outcomes)
