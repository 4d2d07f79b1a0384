"""GET /healthz and GET /readyz: ready is what has just run a script."""
import json
import os
import signal
import subprocess
import time

import pytest

import harness
from harness import HELLO, PATIENCE, background, spin, wait_until


def user(mode):
    return {"user": mode == "user"}


def ready(server):
    answer = server.request("GET", "/readyz")
    assert answer.headers["Content-Type"] == "application/json"
    assert list(answer.json) == (["status"] if answer.status == 200 else ["status", "reason"])
    return answer.status, answer.json["status"]


def test_ready(server):
    assert ready(server) == (200, "ready")
    answer = server.request("GET", "/healthz")
    assert (answer.status, answer.json) == (200, {"status": "ok"})


@pytest.fixture
def hindered(start_server, public_dir, mode):
    """(server, hindrance): while the file `hindrance` is there, no script comes past its own compilation."""
    hindrance = public_dir / "venv" / "hindrance"
    python = harness.PYTHON or "/usr/bin/python3"
    subprocess.run([python, "-m", "venv", "--without-pip", public_dir / "venv"], check=True, cwd="/")
    (packages,) = (public_dir / "venv/lib").glob("python3*/site-packages")
    (packages / "hindrance.pth").write_text("import hindrance\n")
    (packages / "hindrance.py").write_text(
        "import builtins, os, time\n"
        "def compile(*args, real=builtins.compile, **options):\n"
        f"    while os.path.exists({str(hindrance)!r}): time.sleep(0.1)\n"
        "    return real(*args, **options)\n"
        "builtins.compile = compile\n"
    )
    return start_server("--python", public_dir / "venv/bin/python3", "--limits.wall_ms", "500", **user(mode)), hindrance


def test_a_server_whose_jails_run_no_script_is_not_ready(hindered):
    server, hindrance = hindered
    hindrance.touch()
    wait_until(lambda: ready(server) == (503, "failing"), "GET /readyz → 503")
    assert server.request("GET", "/readyz").json["reason"] == "a script of the server's own failed: time limit exceeded: 0.5 s"
    assert server.request("GET", "/healthz").status == 200
    assert server.execute(HELLO).error == "time limit exceeded: 0.5 s", "requests are taken all the same"
    (line,) = [json.loads(line) for line in server.log_lines() if '"not ready"' in line]
    assert "time limit" in line["reason"], "said once, however often it is tried"
    hindrance.unlink()
    server.wait_ready()
    wait_until(lambda: any('"ready again"' in line for line in server.log_lines()), "a line about it")


def test_after_a_zygotes_end_it_is_ready_once_another_has_run_a_script(start_server, mode):
    server = start_server("--log-level", "debug", **user(mode))
    (first,) = server.zygotes()
    os.kill(first.pid, signal.SIGSTOP)  # it answers nobody, so the jails that wait are all there are
    os.kill(first.pid, signal.SIGKILL)
    seen = []

    def again():
        seen.append(ready(server))
        zygotes = server.zygotes()
        return zygotes and zygotes[0].pid != first.pid and seen[-1] == (200, "ready")

    wait_until(again, "another zygote, and ready")
    assert {status for status, _ in seen} <= {200, 503}
    server.assert_serves()


def test_a_zygote_that_never_comes_back_is_not_ready(start_server):
    """Jails that wait still serve; but what makes them has gone."""
    server = start_server()
    (zygote,) = server.zygotes()
    interpreter = harness.command_of(zygote.pid)[0]
    assert interpreter
    end = time.monotonic() + PATIENCE
    while ready(server)[0] == 200:
        for each in server.zygotes():
            os.kill(each.pid, signal.SIGKILL)
        assert time.monotonic() < end, "ready without any zygote that lives"


def test_recycling_does_not_disturb(start_server):
    server = start_server("--recycle-runs", "5", "--pool", "1")
    first = server.zygotes()[0].pid
    seen = set()

    def recycled():
        server.assert_serves()
        seen.add(ready(server))
        return all(each.pid != first for each in server.zygotes())

    wait_until(recycled, "another zygote")
    assert seen == {(200, "ready")}


def test_more_work_than_places_is_ready(start_server, mode):
    server = start_server("--concurrency", "1", "--queue", "2", "--limits.wall_ms", "60s", "--limits.cpu_ms", "60s", **user(mode))
    flying = [background(server.execute, spin(4))]
    server.wait_busy()  # before that it waits itself, and the queue holds two
    flying += [background(server.execute, spin(4)) for _ in range(2)]
    statuses = {ready(server) for _ in range(20)}
    assert all(each.result(PATIENCE).status == 200 for each in flying), "the probe takes nobody's place"
    assert statuses == {(200, "ready")}


def test_not_ready_while_draining(start_server, mode):
    server = start_server("--limits.wall_ms", "60s", "--limits.cpu_ms", "60s", **user(mode))
    with server.wire() as wire:
        wire.send(b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert wire.answer().status == 200
        flying = background(server.execute, spin(3))
        server.wait_busy()
        server.process.send_signal(signal.SIGTERM)

        def draining():
            wire.send(b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n")
            answer = wire.answer()
            return answer.status == 503 and answer

        answer = wait_until(draining, "GET /readyz → 503")
        assert answer.json == {"status": "draining", "reason": "the server is stopping"}
        assert flying.result(PATIENCE).status == 200
    server.wait_exit()
    assert server.process.returncode == 0


def test_probes_are_not_counted_as_runs(start_server):
    server = start_server("--log-level", "debug")
    time.sleep(0.2)
    text = server.request("GET", "/metrics").body.decode()
    assert "safe_script_ready 1\n" in text
    assert 'safe_script_runs_total{status="ok",environment="default"} 0\n' in text
    assert not any('"event":"run"' in line for line in server.log_lines())


@pytest.mark.parametrize("flags", (("--limits.disk_bytes", "64KiB"), ("--limits.memory_bytes", "64MiB"), ("--limits.processes", "1"),
                                   ("--limits.output_bytes", "1"), ("--limits.open_files", "16"), ("--limits.result_bytes", "1KiB")))
def test_ready_under_small_limits(start_server, flags):
    start_server(*flags)
