"""Keeps all the descriptors in flight that its uid may have, while another run and the server itself send some."""
CLASS = "descriptors"
RIGHT = "N"
STOPS = {}
ALONE = True


def main():
    import socket, time
    here, there = socket.socketpair()
    here.setblocking(False)
    count = 0
    try:
        while count < 2000:
            socket.send_fds(here, [b"x"], [0] * 40)
            count += 40
    except OSError:
        pass
    time.sleep(2)
    return held(f"{count} in flight")


def around(server, world):
    import harness
    held = harness.background(lambda: [server.run("def main():\n    return {}")["status"] for _ in range(30)])
    yield {}
    ended = held.result(harness.PATIENCE)
    return None if set(ended) == {"ok"} else f"the neighbours ended so: {ended}"
