"""Instructions per request, as Callgrind counts them: a number that does not depend on how busy the machine is.

Of the front, as a test build without its own sandbox (valgrind could not work in it), with bench/instant.c in the supervisor's place.
The difference of two counts, divided by the difference in requests: what starts and ends the process drops out.
"""
import os
import re

import rivals
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


def counts(bench, plan):
    ours = rivals.Service(bench, "hello", 0)
    kinds = {"GET /healthz": ("/healthz", {}), "POST /execute, hello": ("/execute", {"body": ours.body, "expect": ours.expect})}
    rows = {}
    for name, (path, options) in kinds.items():
        few, many = (front_count(bench, requests, path, options) for requests in (FEW, MANY))
        rows[f"front, instructions for {name}"] = (many - few) // (MANY - FEW)
    return rows, {}
