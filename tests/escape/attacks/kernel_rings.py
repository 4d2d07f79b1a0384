"""Sets up an io_uring, whose operations no filter sees."""
CLASS = "kernel surface"
RIGHT = "E"
STOPS = {"seccomp": "no such call", "rlimits": "no locked memory"}


def main(world):
    return attempt(call, "io_uring_setup", 2, ctypes.create_string_buffer(120))
