"""The log: JSON or text, and that whoever reads it cannot stop the server."""
import fcntl
import hashlib
import json
import os
import re
import signal
import time

import pytest

import harness
from harness import HELLO, alive, wait_until

STAMP = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"


def user(mode):
    return {"user": mode == "user"}


# Its format.


def test_text_is_for_people(start_server, mode):
    server = start_server("--log-format", "text", **user(mode))
    record = server.run(HELLO)
    wait_until(lambda: any(record["id"] in line for line in server.log_lines()), "the run's line")
    server.stop()
    for line in server.log_lines():
        assert re.fullmatch(rf"{STAMP} (debug|info|warning|error) +(supervisor|front): [^=]+( \w+=(\S+|\".*\"))*", line), line
    (line,) = [line for line in server.log_lines() if record["id"] in line]
    assert re.fullmatch(rf"{STAMP} info +front: run id={record['id']} status=ok .*", line)


def test_json_is_the_default(start_server):
    server = start_server()
    server.stop()
    assert all({"time", "level", "process", "event"} <= set(json.loads(line)) for line in server.log_lines())
    assert {json.loads(line)["process"] for line in server.log_lines()} == {"supervisor"}


def test_the_front_heeds_the_level(start_server):
    server = start_server("--log-level", "warning")
    server.run(HELLO)
    server.stop()
    assert server.log_lines() == []


def test_an_unknown_format_is_an_error(cli):
    ended = cli("serve", "--log-format", "xml")
    assert ended.returncode == 2
    assert b'"xml" is not one of json, text' in ended.stderr


# The audit line.


def audit(server, id_):
    wait_until(lambda: any(id_ in line for line in server.log_lines()), "the run's line")
    (line,) = [json.loads(line) for line in server.log_lines() if id_ in line]
    return line


def test_the_audit_line(start_server, mode):
    server = start_server(**user(mode))
    script = "import socket, sys\n" "def main():\n    try: socket.socket()\n    except OSError: pass\n    print('é' * 9)\n    print('x', file=sys.stderr)\n    1/0\n"
    record = server.run(script)
    line = audit(server, record["id"])
    assert (line["event"], line["process"], line["level"]) == ("run", "front", "info")
    assert line["status"] == "script_error"
    assert line["script_sha256"] == hashlib.sha256(script.encode()).hexdigest()
    assert line["environment"] == "default"
    assert line["http"] == 200
    for name in ("queued_ms", "wall_ms", "cpu_ms", "stdout_bytes"):
        assert line[name] == record["usage"][name], name
    assert line["stderr_bytes"] == 2
    assert line["denials"] == sum(entry["count"] for entry in record["denied"]) >= 1


def test_the_hash_is_the_scripts_alone(start_server):
    """The same whichever way it came and whatever came with it."""
    server = start_server()
    server.execute(HELLO, input=1, stdin="x", files={"a": "b"})
    server.execute_python(HELLO)
    server.execute(HELLO + "\n")

    def hashes():
        return [json.loads(line)["script_sha256"] for line in server.log_lines() if '"event":"run"' in line]

    wait_until(lambda: len(hashes()) == 3, "the runs' lines")
    first = hashlib.sha256(HELLO.encode()).hexdigest()
    assert hashes() == [first, first, hashlib.sha256((HELLO + "\n").encode()).hexdigest()]


# Its reader.


def fill(server):
    """Requests until the log can hold no more; each must be answered. Returns how many."""
    server.shrink_log()
    runs = 150 if harness.IS_ROOT else 1500
    for _ in range(runs):
        server.assert_serves()
    return runs


def read_all(fd):
    """What comes until nothing has come for a second."""
    text = b""
    os.set_blocking(fd, False)
    last = time.monotonic()
    while time.monotonic() < last + 1:
        try:
            text += os.read(fd, 65536)
            last = time.monotonic()
        except BlockingIOError:
            time.sleep(0.02)
    return text


def test_a_reader_that_stops_does_not_stop_the_server(start_server, mode):
    reading, writing = os.pipe()
    try:
        fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
        server = start_server("--log-level", "debug", stderr=writing, **user(mode))
        os.close(writing)
        runs = fill(server)
        text = read_all(reading)
        last = server.run(HELLO)["id"]
        text += read_all(reading)
        lines = [json.loads(line) for line in text.decode().splitlines()]
        events = [line["event"] for line in lines]
        lost = sum(line["lines"] for line in lines if line["event"] == "log lines were lost")
        assert lost > 0
        assert events.count("run") + lost >= runs + 1
        assert any(line.get("id") == last for line in lines), "the log goes on"
    finally:
        os.close(reading)


def test_a_stuck_reader_does_not_hold_up_the_end(start_server, mode):
    reading, writing = os.pipe()
    try:
        fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
        server = start_server(stderr=writing, **user(mode))
        os.close(writing)
        for _ in range(60):
            server.assert_serves()
        server.stop()
    finally:
        os.close(reading)


def test_a_reader_that_has_gone_does_no_harm(start_server, mode):
    reading, writing = os.pipe()
    server = start_server(stderr=writing, **user(mode))
    os.close(writing)
    os.close(reading)
    for _ in range(60):
        server.assert_serves()


def test_a_log_on_a_full_device_does_no_harm(start_server):
    with open("/dev/full", "wb") as full:
        server = start_server(stderr=full)
        for _ in range(20):
            server.assert_serves()


def test_what_is_said_last_is_written(start_server, mode):
    """Also where all of the server is killed at once: the relay ends when everything is written, and by itself."""
    server = start_server(**user(mode))
    ids = [server.run(HELLO)["id"] for _ in range(30)]
    process = server.log_relay()
    server.process.kill()
    server.wait_exit()
    wait_until(lambda: not alive(process), "the end of the relay")
    assert set(ids) <= {json.loads(line).get("id") for line in server.log_lines()}


def test_a_killed_relay_is_replaced(start_server, mode):
    """However often: lines wait for the next."""
    server = start_server(**user(mode))
    for _ in range(4):
        killed = wait_until(server.log_relay, "a relay")
        os.kill(killed.pid, signal.SIGKILL)
        wait_until(lambda gone=killed: not alive(gone), "its end")  # what it had read dies with it
        record = server.run(HELLO)
        wait_until(lambda gone=killed.pid: (found := server.log_relay()) and found.pid != gone, "another relay")
        wait_until(lambda: any(record["id"] in line for line in server.log_lines()), "the run's line")


def test_the_relay_can_do_nothing_else(start_server):
    server = start_server()
    status = dict(line.split(":\t", 1) for line in harness.pathlib.Path(f"/proc/{server.log_relay().pid}/status").read_text().splitlines() if ":\t" in line)
    assert status["Seccomp"] == "2"
    assert status["NoNewPrivs"] == "1"
    assert {int(status[name], 16) for name in ("CapEff", "CapPrm", "CapInh")} == {0}
    if harness.IS_ROOT:
        assert sorted(os.listdir(f"/proc/{server.log_relay().pid}/fd")) == ["0", "1"]


@pytest.mark.parametrize("format_", ("json", "text"))
def test_nothing_of_a_script_is_in_the_log(start_server, format_):
    server = start_server("--log-format", format_, "--log-level", "debug")
    marker = "marker_of_this_script"
    for body in (f"return {{'x': '{marker}'}}", f"raise ValueError('{marker}')", f"{marker} = = 1"):
        server.run(f"def main():\n    print('{marker}')\n    {body}\n", stdin=marker, files={marker: marker}, input=marker)
    server.request("GET", f"/{marker}")
    server.stop()
    assert marker not in server.log.read_text()
