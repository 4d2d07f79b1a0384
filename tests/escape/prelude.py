# What every attack finds before its own lines: system calls by number, machine code, and the words for an outcome.
import ctypes, errno, os, sys

_NUMBERS = {  # x86_64, aarch64 (None: that architecture has none)
    "read": (0, 63), "write": (1, 64), "close": (3, 57), "mmap": (9, 222), "mprotect": (10, 226), "ioctl": (16, 29),
    "dup2": (33, None), "getpid": (39, 172), "socket": (41, 198), "connect": (42, 203), "sendmsg": (46, 211),
    "socketpair": (53, 199), "clone": (56, 220), "fork": (57, None), "vfork": (58, None), "execve": (59, 221), "exit": (60, 93),
    "kill": (62, 129), "fcntl": (72, 25), "ftruncate": (77, 46), "ptrace": (101, 117), "setsid": (112, 157),
    "setresuid": (117, 147), "mknod": (133, None), "personality": (135, 92), "prctl": (157, 167), "setrlimit": (160, 164),
    "chroot": (161, 51), "mount": (165, 40), "umount2": (166, 39), "tkill": (200, 130), "gettid": (186, 178),
    "getdents64": (217, 61), "tgkill": (234, 131), "openat": (257, 56), "mknodat": (259, 33), "unshare": (272, 97),
    "splice": (275, 76), "vmsplice": (278, 75), "prlimit64": (302, 261), "setns": (308, 268),
    "process_vm_readv": (310, 270), "memfd_create": (319, 279), "execveat": (322, 281), "userfaultfd": (323, 282),
    "pidfd_open": (434, 434), "clone3": (435, 435), "pidfd_getfd": (438, 438), "io_uring_setup": (425, 425),
    "setxattr": (188, 5), "futex": (202, 98), "timer_create": (222, 107), "fallocate": (285, 47),
    "shutdown": (48, 210), "sched_setattr": (314, 274), "mlock": (149, 228), "mlockall": (151, 230), "futex_waitv": (449, 449),
}
_libc = ctypes.CDLL(None, use_errno=True)


def call(name, *arguments):
    """The raw system call, by name or number; OSError where it fails."""
    number = _NUMBERS[name][os.uname().machine != "x86_64"] if isinstance(name, str) else name
    whole = [each if isinstance(each, (bytes, ctypes.Array)) or hasattr(each, "contents") else ctypes.c_long(each or 0) for each in arguments]
    ctypes.set_errno(0)
    result = _libc.syscall(ctypes.c_long(number), *whole)
    if result == -1 and ctypes.get_errno():
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def machine_code(code):
    """A function without arguments that runs these bytes (they must return) and gives what they left in rax or x0."""
    import mmap
    page = mmap.mmap(-1, max(len(code), mmap.PAGESIZE), prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(code)
    return ctypes.CFUNCTYPE(ctypes.c_long)(ctypes.addressof(ctypes.c_char.from_buffer(page)))


def through(sign):
    """It got through; `sign` says by what it shows."""
    return {"through": str(sign)[:200]}


def held(why):
    return {"held": str(why)[:200]}


def attempt(function, *arguments, **options):
    """through() where the call succeeds, held() with the errno or exception where not."""
    try:
        return through(repr(function(*arguments, **options)))
    except OSError as error:
        return held(errno.errorcode.get(error.errno, error.errno))
    except Exception as error:
        return held(type(error).__name__)


def any_of(outcomes):
    """through() where one of several attempts did: outcomes by their names."""
    signs = {name: outcome["through"] for name, outcome in outcomes.items() if "through" in outcome}
    return through(signs) if signs else held({name: outcome["held"] for name, outcome in outcomes.items()})


