# The channel that carries a run's report, as the code in the jail writes it (src/lib/frames.h), and the one secret in it.
import struct

REPORT, NONCE, END, RESULT = 3, 1, 7, 8


def frame(tag, data=b""):
    return struct.pack("=II", tag, len(data)) + data


def report(result, nonce=bytes(16)):
    return frame(NONCE, nonce) + frame(RESULT, result) + frame(END)


FORGED = b'{"through":"a forged result"}'


def put(data, fd=REPORT):
    while data:
        data = data[os.write(fd, data):]


def loaded(name):
    """The address at which a library was loaded: /proc is not there, the dynamic linker is."""
    found = []
    class Info(ctypes.Structure):
        _fields_ = [("base", ctypes.c_size_t), ("name", ctypes.c_char_p)]
    @ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(Info), ctypes.c_size_t, ctypes.c_void_p)
    def look(info, size, data):
        if name in (info[0].name or b""):
            found.append((info[0].base, info[0].name))
        return 0
    _libc.dl_iterate_phdr(look, None)
    return found[0]


def own_nonce():
    """This run's nonce: a static array of the extension's, found by its symbol."""
    base, path = loaded(b"_safe_script.abi3.so")
    image = open(path, "rb").read()
    offset, size, count = struct.unpack_from("<Q", image, 40)[0], *struct.unpack_from("<HH", image, 58)
    sections = [struct.unpack_from("<IIQQQQIIQQ", image, offset + size * i) for i in range(count)]
    for kind, symbols in ((each[1], each) for each in sections):
        if kind != 2:
            continue
        names = sections[symbols[6]][4]
        for at in range(symbols[4], symbols[4] + symbols[5], 24):
            name, value = struct.unpack_from("<I", image, at)[0], struct.unpack_from("<Q", image, at + 8)[0]
            if image[names + name:names + name + 6] == b"nonce\0":
                return ctypes.string_at(base + value, 16)
    raise LookupError("nonce")




def say_the_end(status=0, word=0x656E64206F662072):
    """What the code in the jail says once it has written its report (src/jail/policy.h, RUN_ENDS)."""
    return call("shutdown", word, status)
