"""Names the machine."""
CLASS = "kernel surface"
RIGHT = "E"
STOPS = {"seccomp": "no sethostname()", "identity": "no CAP_SYS_ADMIN", "namespaces": "no right over a uts namespace of another user namespace"}


def main(world):
    name = os.uname().nodename.encode()
    return attempt(call, 170 if os.uname().machine == "x86_64" else 161, name, len(name))
