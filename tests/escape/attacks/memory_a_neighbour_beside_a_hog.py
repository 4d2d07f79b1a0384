"""Takes all the memory it can get while another run, well below its own limit, goes on: that one must not notice."""
CLASS = "memory"
RIGHT = "K"
STATUS = ("memory_limit",)
STOPS = {"cgroup": "each run has its own", "rlimits": "RLIMIT_AS", "supervisor": "the watchdog ends the one that is over"}
ALONE = True


def main():
    import time
    blocks = []
    for _ in range(24):
        blocks.append(bytearray(os.urandom(1) * (8 << 20)))
        time.sleep(0.005)
    return through("192 MiB under a limit of 64 MiB")


def around(server, world):
    import harness
    neighbour = harness.background(server.run, """
import time
def main():
    blocks = []
    for number in range(24):
        blocks.append(bytearray(bytes([number]) * (1 << 20)))
        time.sleep(0.01)
    return {"sum": sum(map(len, blocks))}
""")
    yield {}
    record = neighbour.result(harness.PATIENCE)
    return None if record["result"] == {"sum": 24 << 20} else f"the neighbour ended so: {record['status']}"
