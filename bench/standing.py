"""What holds while much is asked: neighbours' bombs, a thousand sleepers, a hundred thousand runs."""
import contextlib
import json
import os
import pathlib
import re
import resource
import socket
import statistics
import subprocess
import time

import rivals
import scripts
import tools
from tools import CORES, Failed, figure, percentile, say

# ---- bombs ----


def key(bench, name):
    """A client of its own: places are shared between keys, and without keys all of one machine would be one."""
    command = [bench.build / "safe-script", "key", "new", name, "--keys-file", bench.directory / "keys"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=tools.ENVIRONMENT)
    return f"Authorization: Bearer {done.stdout.strip()}"


@contextlib.contextmanager
def neighbours(bench, server, header):
    """Each of the bombs, one at a time, again and again."""
    running = []
    for name, script in scripts.BOMBS.items():
        body = bench.file(f"{name}.json", json.dumps({"script": script}))
        command = [
            bench.build / "bench/load", "--path", "/execute", "--body", body, "--header", header, "--expect-status", "400",
            "--seconds", "3600", server.address,
        ]  # fmt: skip
        running.append(subprocess.Popen(command, stdout=subprocess.DEVNULL))
    try:
        time.sleep(1)
        yield
    finally:
        for each in running:
            each.kill()
            each.wait()


def idle(server, header):
    """Nobody's run is left."""
    name, value = header.split(": ")
    request = f"GET /metrics HTTP/1.1\r\nHost: bench\r\n{name}: {value}\r\nConnection: close\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(request.encode())
        page = b"".join(iter(lambda: connection.recv(65536), b"")).decode()
    return re.search(r"^safe_script_runs_in_flight 0$", page, re.M)


def bombs(bench, plan):
    good, bad = key(bench, "good"), key(bench, "bad")
    with tools.safe_script(bench, "--keys-file", bench.directory / "keys") as server:
        ours = rivals.Service(bench, "good", server.port)
        told = {"alone": [], "beside fork, memory, output and spin": []}

        def measure(name):
            told[name].append(bench.load(
                server.address, path="/execute", body=ours.body, expect=ours.expect, header=good,
                seconds=2 * plan.seconds, warm_up=plan.warm_up))  # fmt: skip

        for number in range(plan.rounds):
            say(f"    round {number + 1} of {plan.rounds}")
            tools.wait_until(lambda: idle(server, good), "an idle server", server.process)
            measure("alone")
            with neighbours(bench, server, bad):
                measure("beside fork, memory, output and spin")
    tails = [[percentile(each["times"], 0.99) for each in rounds] for rounds in told.values()]
    rows = {
        name: {
            "median_ms": figure([percentile(each["times"], 0.5) for each in rounds]),
            "p99_ms": figure([percentile(each["times"], 0.99) for each in rounds]),
            "per_second": figure([each["per_second"] for each in rounds]),
        }
        for name, rounds in told.items()
    }
    return rows, {"bombs_p99": tools.ratio(tails[1], tails[0])}


# ---- sleepers ----

SLEEPERS = 1000


def used_bytes():
    """What the machine has given out, the kernel's own included; files that could be read again are not counted."""
    told = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in open("/proc/meminfo")}
    return told["MemTotal"] - told["MemFree"] - told["Buffers"] - (told["Cached"] - told["Shmem"])


def metric(server, name, labels=""):
    page = tools.get(server.port, "/metrics")[1].decode()
    return sum(float(value) for value in re.findall(rf"^{name}(?:{{{labels}[^}}]*}})? (\S+)$", page, re.M))


def raise_open_files():
    """A thousand jails have some fifty descriptors each in the supervisor, more than many machines allow at first."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    for wish in (100000, most):
        with contextlib.suppress(ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (max(wish, most), max(wish, most)))
            return


def settled(read, tolerance, seconds=15):
    """What read() says once it says the same twice, half a second apart."""
    before, end = read(), time.monotonic() + seconds
    while True:
        time.sleep(0.5)
        now = read()
        if abs(now - before) <= tolerance or time.monotonic() > end:
            return now
        before = now


def places():
    """Runs that one server carries at once with the descriptors that there are; src/supervisor/size.c says how many each takes."""
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return min(SLEEPERS, (files - 64) // 2 // 26 - 12 * CORES)


def sleepers(bench, plan):
    """Where descriptors are few, on as many servers as it takes; what a server costs by itself is there before."""
    raise_open_files()
    settings = ["--concurrency", str(places() + 8 * CORES), "--queue", str(SLEEPERS), "--limits.wall_ms", "600s"]
    body = json.dumps({"script": scripts.SLEEPER}).encode()
    head = f"POST /execute HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    with contextlib.ExitStack() as stack:
        shares = [min(places(), SLEEPERS - at) for at in range(0, SLEEPERS, places())]
        servers = [stack.enter_context(tools.safe_script(bench, *settings)) for _ in shares]
        clients = stack.enter_context(contextlib.ExitStack())
        ours = rivals.Service(bench, "hello", servers[0].port)

        def hello():
            rounds = [ours.measure(1, plan.seconds, plan.warm_up) for _ in range(max(plan.rounds // 2, 1))]
            return statistics.median(percentile(each["times"], 0.5) for each in rounds)

        before_ms = hello()
        before = settled(used_bytes, 1 << 20)
        for server, share in zip(servers, shares):
            for _ in range(share):
                client = clients.enter_context(socket.create_connection(("127.0.0.1", server.port)))
                client.sendall(head.encode() + body)
            all_run = lambda: metric(server, "safe_script_slots", 'state="running"') >= share
            tools.wait_until(all_run, f"{share} runs asleep", server.process, 120)
        after = settled(used_bytes, 1 << 20)
        beside_ms = hello()
    rows = {
        "servers": len(servers),
        "used before, MiB": before / (1 << 20),
        "used with all asleep, MiB": after / (1 << 20),
        "hello's median before, ms": before_ms,
        "hello's median beside them, ms": beside_ms,
    }
    memory = (after - before) / SLEEPERS / (1 << 20)
    return rows, {"sleeper_memory": figure([memory]), "sleeper_latency": figure([beside_ms / before_ms])}


# ---- drift ----


def children(pid):
    """Of the supervisor: (pid, name), without runs and jails that wait, which are deeper in pid namespaces."""
    for each in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError):
            status = dict(line.split(":\t", 1) for line in (each / "status").read_text().splitlines() if ":\t" in line)
            if int(status["PPid"]) == pid and len(status["NSpid"].split()) == 1:
                yield int(each.name), status["Name"]


def open_files(server):
    total = 0
    for pid in (server.process.pid, *(pid for pid, _ in children(server.process.pid))):
        with contextlib.suppress(OSError):
            total += len(os.listdir(f"/proc/{pid}/fd"))
    return total


def cgroups(server):
    name = f"safe-script-{server.process.pid}"
    return sum(name in path for path, _, _ in os.walk("/sys/fs/cgroup"))


def mounts(server):
    return len(pathlib.Path(f"/proc/{server.process.pid}/mountinfo").read_text().splitlines())


def drift(bench, plan):
    # A deeper pool is made when there is time for it, so what it holds says when that was.
    with tools.safe_script(bench, "--pool", str(4 * CORES)) as server:
        ours = rivals.Service(bench, "hello", server.port)

        def runs(count, seconds):  # as many clients as there are places, so that all of these exist after the first thousand
            return bench.load(server.address, connections=32 * CORES, path="/execute", body=ours.body, expect=ours.expect,
                              requests=count, seconds=seconds)["answers"]  # fmt: skip

        def look():
            # First: many clients leave more jails waiting than the pool is for, and one client uses these up.
            median = statistics.median(ours.measure(1, plan.seconds, plan.warm_up)["times"])
            return {
                "resident memory, MiB": settled(lambda: metric(server, "safe_script_resident_memory_bytes"), 64 << 10) / (1 << 20),
                "open files": settled(lambda: open_files(server), 0),
                "cgroups": settled(lambda: cgroups(server), 0),
                "mounts": mounts(server),
                "hello's median, ms": median,
            }

        done = runs(1000, 60)
        before = look()
        say(f"    {plan.drift_runs} runs, or {plan.drift_seconds} s")
        done += runs(plan.drift_runs - done, plan.drift_seconds)
        after = look()
    if done < 5000:
        raise Failed(f"only {done} runs in the time that there was")
    rows = {f"{name}, after {when:,} runs": value for name in before for when, value in ((1000, before[name]), (done, after[name]))}
    left = max(after[name] - before[name] for name in ("open files", "cgroups", "mounts"))
    over = lambda name: figure([after[name] / before[name]])
    return rows, {
        "drift_memory": over("resident memory, MiB"), "drift_left": figure([left]), "drift_latency": over("hello's median, ms"),
    }  # fmt: skip
