"""Makes packets and non-blocking writes of its outputs and its report's channel, which the readers at the other end do not expect."""
CLASS = "output"
RIGHT = "N"
STOPS = {}


def main():
    for fd in (1, 2, 3):
        call("fcntl", fd, 4, os.O_WRONLY | os.O_DIRECT)
    for _ in range(200):
        os.write(1, b"x" * 7)
    return {"more": "y" * 20000}


def around(server, world):
    record = yield {}
    if record["status"] != "ok":
        return None
    return None if record["stdout"] == "x" * 1400 and record["result"] == {"more": "y" * 20000} else "something was lost, and it is a success"
