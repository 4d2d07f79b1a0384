"""Calls the kernel as a 32-bit program would, where numbers mean something else. (Some kernels have no such entry: no measure of walls.)"""
CLASS = "kernel surface"
RIGHT = "N"
STATUS = ("killed",)
STOPS = {}


def main(world):
    if os.uname().machine != "x86_64":
        ctypes.string_at(0)
    number = machine_code(b"\xb8\x14\0\0\0\xcd\x80\xc3")()  # int 0x80, getpid
    return through(f"getpid() by int 0x80: {number}") if number > 0 else held(number)
