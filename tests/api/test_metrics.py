"""GET /metrics: its form, and that its numbers are what happened."""
import fcntl
import os
import re
import signal
import subprocess

import pytest

import harness
import prometheus
from harness import HELLO, PATIENCE, background, spin, wait_until

TYPE = "text/plain; version=0.0.4; charset=utf-8"
DOCUMENTATION = harness.REPOSITORY / "doc" / "MONITORING.md"


def scrape(server):
    answer = server.request("GET", "/metrics")
    assert (answer.status, answer.headers["Content-Type"]) == (200, TYPE)
    return prometheus.parse(answer.body.decode())


def user(mode):
    return {"user": mode == "user"}


def increase(before, after, name, suffix="", **labels):
    key = suffix, tuple(sorted(labels.items()))
    return after[name].samples.get(key, 0) - before[name].samples.get(key, 0)


# The reader itself.


@pytest.mark.parametrize("text", (
    "# HELP a_total x\n# TYPE a_total counter\na_total 1",
    "# TYPE a_total counter\n# HELP a_total x\na_total 1\n",
    "a 1\n",
    "# HELP a x\n# TYPE a gauge\na 1\na 2\n",
    "# HELP a x\n# TYPE a gauge\na{b=\"1\",b=\"2\"} 1\n",
    "# HELP a x\n# TYPE a gauge\na{b=\"1\\x\"} 1\n",
    "# HELP a x\n# TYPE a gauge\na{1b=\"1\"} 1\n",
    "# HELP a x\n# TYPE a gauge\nb 1\n",
    "# HELP a x\n# TYPE a gauge\na 1,0\n",
    "# HELP a x\n# TYPE a counter\na 1\n",
    "# HELP a x\n# TYPE a gauge\na 1\n# HELP a x\n# TYPE a gauge\na{c=\"1\"} 1\n",
    "# HELP a x\n# TYPE a histogram\na_bucket{le=\"1\"} 2\na_bucket{le=\"+Inf\"} 1\na_sum 1\na_count 1\n",
    "# HELP a x\n# TYPE a histogram\na_bucket{le=\"1\"} 1\na_bucket{le=\"+Inf\"} 1\na_sum 1\na_count 2\n",
    "# HELP a x\n# TYPE a histogram\na_bucket{le=\"1\"} 1\na_sum 1\na_count 1\n",
))
def test_the_reader_is_strict(text):
    with pytest.raises((AssertionError, AttributeError, KeyError)):
        prometheus.parse(text)


# The page.


def test_the_page(server):
    metrics = scrape(server)
    assert all(name.startswith("safe_script_") for name in metrics)
    assert metrics["safe_script_build_info"].total() == 1
    assert all(metric.help.endswith(".") for metric in metrics.values())


def test_the_documentation_has_the_same_table():
    printed = subprocess.run([harness.BUILD / "safe-script-http", "--metrics"], capture_output=True, check=True).stdout.decode()
    assert printed in DOCUMENTATION.read_text()


def test_the_table_is_the_page(server):
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| ([^|]*) \| (.*) \|$", DOCUMENTATION.read_text(), re.M)
    metrics = scrape(server)
    assert [(name, type_, help_) for name, type_, _, help_ in rows] == [(each.name, each.type, each.help) for each in metrics.values()]
    for name, _, labels, _ in rows:
        names = {label for _, pairs in metrics[name].samples for label, _ in pairs if label != "le"}
        assert not names or names == set(filter(None, labels.split(", "))), name


def test_head_has_no_body(server):
    answer = server.request("HEAD", "/metrics")
    assert (answer.status, answer.body) == (200, b"")


def test_many_scrapes_at_once(server):
    flying = [background(scrape, server) for _ in range(50)]
    assert all(each.result(PATIENCE) for each in flying)


def test_scrapers_that_do_not_wait(server):
    for _ in range(30):
        with server.wire() as wire:
            wire.send(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
    assert scrape(server)


# Its numbers.


def test_runs_are_counted_by_status(server):
    before = scrape(server)
    scripts = {"ok": HELLO, "script_error": "def main(): 1/0\n", "contract_error": "x = 1\n",
               "exited": "import os\ndef main(): os._exit(3)\n", "killed": "import os\ndef main(): os.abort()\n"}
    for status, script in scripts.items():
        assert server.run(script)["status"] == status
    after = scrape(server)
    for status in scripts:
        assert increase(before, after, "safe_script_runs_total", status=status, environment="default") == 1, status
    assert after["safe_script_runs_total"].total() - before["safe_script_runs_total"].total() == len(scripts)
    assert increase(before, after, "safe_script_http_requests_total", method="POST", route="/v1/runs", code="200") == len(scripts)


def test_latencies_are_observed(server):
    before = scrape(server)
    usage = server.run("import time\ndef main():\n    time.sleep(0.3)\n    return {}\n")["usage"]
    after = scrape(server)
    for name in ("queue", "wall", "total"):
        assert increase(before, after, f"safe_script_run_{name}_seconds", "_count") == 1
    wall = increase(before, after, "safe_script_run_wall_seconds", "_sum")
    assert abs(wall * 1000 - usage["wall_ms"]) <= 1
    assert increase(before, after, "safe_script_run_wall_seconds", "_bucket", le="0.25") == 0
    assert increase(before, after, "safe_script_run_total_seconds", "_sum") >= wall
    cpu = increase(before, after, "safe_script_run_cpu_seconds_total")
    assert abs(cpu * 1000 - usage["cpu_ms"]) <= 1


def test_output_and_denials_are_counted(server):
    before = scrape(server)
    record = server.run(
        "import socket, sys\ndef main():\n    for _ in range(3):\n        try: socket.socket()\n        except OSError: pass\n"
        "    print('x' * 99)\n    print('y' * 49, file=sys.stderr)\n    return {}\n")
    after = scrape(server)
    assert increase(before, after, "safe_script_run_output_bytes_total") == 150
    denied = {entry["what"].split("(")[0]: entry["count"] for entry in record["denied"]}
    assert increase(before, after, "safe_script_denials_total", call="socket") == denied["socket"] == 3


def test_answers_are_counted_by_route_and_code(server):
    before = scrape(server)
    server.request("GET", "/nowhere")
    server.request("GET", "/execute")
    server.execute("def main(): 1/0\n")
    server.raw(b"nonsense\r\n\r\n")
    after = scrape(server)
    name = "safe_script_http_requests_total"
    assert increase(before, after, name, method="other", route="other", code="404") == 1
    assert increase(before, after, name, method="other", route="other", code="400") == 1
    assert increase(before, after, name, method="POST", route="/execute", code="405") == 1
    assert increase(before, after, name, method="POST", route="/execute", code="400") == 1
    assert increase(before, after, name, method="GET", route="/metrics", code="200") == 1
    assert increase(before, after, "safe_script_http_connections_total") == 5


def test_what_waits_and_what_runs(start_server, mode):
    server = start_server("--concurrency", "1", "--queue", "7", "--pool", "2", "--limits.wall_ms", "60s", "--limits.cpu_ms", "60s", **user(mode))
    flying = [background(server.execute, spin(6)) for _ in range(3)]

    def state():
        metrics = scrape(server)
        return (metrics["safe_script_slots"].value(state="running"), metrics["safe_script_queue_length"].total(),
                metrics["safe_script_runs_in_flight"].total(), metrics["safe_script_http_connections"].value(state="working"))

    wait_until(lambda: state() == (1, 2, 3, 4), "one that runs and two that wait")
    metrics = scrape(server)
    assert metrics["safe_script_concurrency_limit"].total() == 1
    assert metrics["safe_script_queue_limit"].total() == 7
    assert metrics["safe_script_pool_target"].total() == 2
    assert metrics["safe_script_ready"].total() == 1
    assert all(each.result(PATIENCE).status == 200 for each in flying)
    wait_until(lambda: state() == (0, 0, 0, 1), "nothing that runs")


def test_a_pool_comes_to_its_whole_depth(start_server, mode):
    """What serves a steady load comes at once, the rest when nobody asks."""
    server = start_server("--pool", "20", user=mode == "user")

    def is_full():
        metrics = scrape(server)
        return metrics["safe_script_environment_pool"].value(environment="default") == metrics["safe_script_pool_target"].total()

    wait_until(is_full, "a full pool")
    for _ in range(25):
        server.assert_serves()
    wait_until(is_full, "a full pool again")


def test_memory(server):
    metrics = scrape(server)
    resident = metrics["safe_script_resident_memory_bytes"]
    for process in ("supervisor", "front", "zygote"):
        assert 1 << 20 < resident.value(process=process) < 1 << 30, process
    assert (metrics["safe_script_cgroup_memory_bytes"].total() > 0) == ("cgroup" in server.layers)


def test_restarts_are_counted(start_server, mode):
    server = start_server(**user(mode))
    assert scrape(server)["safe_script_restarts_total"].total() == 0
    started = scrape(server)["safe_script_start_time_seconds"].total()
    os.kill(server.zygotes()[0].pid, signal.SIGKILL)
    wait_until(lambda: scrape(server)["safe_script_restarts_total"].value(process="zygote") == 1, "the count")
    os.kill(server.front().pid, signal.SIGKILL)

    def counted():
        try:
            return scrape(server)["safe_script_restarts_total"].value(process="front") == 1
        except OSError:
            return False

    wait_until(counted, "the count")
    assert scrape(server)["safe_script_start_time_seconds"].total() == started


def test_recycling_is_counted(start_server):
    server = start_server("--recycle-runs", "10", "--pool", "1")
    for _ in range(12):
        server.assert_serves()
    wait_until(lambda: scrape(server)["safe_script_zygotes_recycled_total"].total() >= 1, "the count")
    assert scrape(server)["safe_script_restarts_total"].total() == 0
    assert scrape(server)["safe_script_jails_made_total"].total() >= 12


def test_lost_log_lines_are_counted(start_server):
    reading, writing = os.pipe()
    try:
        server = start_server(stderr=writing)
        os.close(writing)
        fcntl.fcntl(reading, fcntl.F_SETPIPE_SZ, 4096)
        server.shrink_log()
        counted = lambda: scrape(server)["safe_script_log_lines_lost_total"].value(process="front")
        assert counted() == 0
        wait_until(lambda: [server.assert_serves() for _ in range(20)] and counted() > 0, "a lost line", 4 * PATIENCE)
    finally:
        os.close(reading)
