"""Makes timers, each of which is a queued signal in the kernel's memory."""
CLASS = "kernel surface"
RIGHT = "E"
STOPS = {"seccomp": "no such call", "rlimits": "RLIMIT_SIGPENDING"}


def main(world):
    made = 0
    try:
        while made < 300:
            call("timer_create", 1, None, ctypes.create_string_buffer(8))
            made += 1
    except OSError as error:
        return held(f"{errno.errorcode[error.errno]} after {made}")
    return through(f"{made} timers")
