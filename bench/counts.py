"""What a request costs our processes in instructions and system calls: numbers that do not depend on how busy the machine is.

Of the front by Callgrind, as a test build without its own sandbox (valgrind could not work in it), with bench/instant.c in the supervisor's
place. The difference of two counts, divided by the difference in requests: what starts and ends the process drops out. Of the supervisor,
which needs calls that valgrind does not know, by single steps from outside (bench/steps.c), and so are all system calls: as root only.
"""
import json
import os
import re
import subprocess
import time

import rivals
import standing
import tools

FEW, MANY = 200, 1200


def front_count(bench, requests, path, options):
    port, log = tools.free_port(), bench.directory / "callgrind.log"
    command = [
        bench.build / "bench/instant", str(port), "--", "valgrind", "--tool=callgrind", f"--log-file={log}",
        f"--callgrind-out-file={os.devnull}", bench.build / "bench/front_counted",
    ]  # fmt: skip
    with tools.running(command, "the front under valgrind", lambda: tools.get(port, "/healthz")[0] == 200, bench.directory / "counts.log"):
        bench.load(f"127.0.0.1:{port}", requests=requests, seconds=120, path=path, **options)
    found = re.search(r"Collected : (\d+)", log.read_text())
    if not found:
        raise tools.Failed(f"valgrind: {log.read_text()[-300:]}")
    return int(found[1])


TRACED = 10


def traced(bench, what, pid, server, ours):
    """What the process does while it serves runs one after the other, and makes the jails for the next."""
    steps = subprocess.Popen([bench.build / "bench/steps", what, str(pid)], stdout=subprocess.PIPE)
    bench.load(server.address, path="/execute", body=ours.body, expect=ours.expect, requests=TRACED, seconds=120)
    time.sleep(1)
    steps.terminate()
    return json.loads(steps.communicate(timeout=60)[0])[what] // TRACED


def counts(bench, plan):
    ours = rivals.Service(bench, "hello", 0)
    kinds = {"GET /healthz": ("/healthz", {}), "POST /execute, hello": ("/execute", {"body": ours.body, "expect": ours.expect})}
    rows = {}
    for name, (path, options) in kinds.items():
        few, many = (front_count(bench, requests, path, options) for requests in (FEW, MANY))
        rows[f"front, instructions for {name}"] = (many - few) // (MANY - FEW)
    if os.getuid() != 0:
        return rows, {}
    with tools.safe_script(bench) as server:
        processes = {name: pid for pid, name in standing.children(server.process.pid)}
        rows["front, system calls for a run"] = traced(bench, "calls", processes["safe-script-http"[:15]], server, ours)
        rows["supervisor, system calls for a run and the next jail"] = traced(bench, "calls", server.process.pid, server, ours)
        rows["supervisor, instructions for the same"] = traced(bench, "instructions", server.process.pid, server, ours)
    return rows, {}
