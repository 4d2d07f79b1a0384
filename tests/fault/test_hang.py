"""SIGSTOP for each process of a server under load: what hangs is ended and replaced, and keeps nobody waiting for ever."""
import os
import random
import signal
import time

import pytest

import load
import victims
from certificates import Certificate
from harness import IS_ROOT, MODES, NOBODY, PATIENCE, alive, background, spin, wait_until


def user(mode):
    return {"user": mode == "user"}


def stop(server, name):
    process = wait_until(lambda: victims.FIND[name](server), f"a {name}")[0]
    assert victims.send(process, signal.SIGSTOP)
    return process


def test_a_zygote_that_hangs(start_server, mode):
    server = start_server(**user(mode))
    with load.on(server) as clients:
        zygote = stop(server, "zygote")
        victims.wait_other(server, "zygote", zygote)
        clients.go_on()
    assert any("does not answer" in line for line in server.log_lines())


def hangs_and_is_replaced(server, name):
    with load.on(server, clients=2, may=victims.MAY[name]) as clients:
        process = stop(server, name)
        victims.wait_other(server, name, process)
        clients.go_on()
    server.wait_ready()
    server.assert_serves()


def hangs_and_ends_the_server(server):
    with load.on(server, clients=2, may={"refused", "closed", "gone"}):
        stop(server, "starter")
        victims.kill(server, "zygote", random)  # an ordinary user's server needs a starter for no more than the next
        assert server.wait_exit(PATIENCE) == 1


def hangs_unasked(server):
    front = stop(server, "front")
    victims.wait_other(server, "front", front)
    server.wait_ready()
    server.assert_serves()


def test_a_front_a_tls_process_and_a_starter_that_hang(start_server, public_dir):
    """All side by side: it takes some 20 s until they are given up. One front hangs while nobody asks for anything."""
    ends = [background(hangs_unasked, start_server())]
    ending = []
    for mode in MODES:
        made = Certificate(public_dir, mode, owner=int(NOBODY) if IS_ROOT and mode == "user" else None)
        last = start_server(**user(mode))
        ending.append((last, last.children()))
        ends.append(background(hangs_and_ends_the_server, last))
        ends.append(background(hangs_and_is_replaced, start_server(**user(mode)), "front"))
        ends.append(background(hangs_and_is_replaced, start_server(*made.flags, tls=made.client, **user(mode)), "tls"))
    for each in ends:
        each.result(3 * PATIENCE)
    for server, tree in ending:
        server.traces.assert_clean(server.pid, tree)


def test_a_relay_that_hangs_stops_nothing(start_server, mode):
    server = start_server(**user(mode))
    server.shrink_log()
    with load.on(server) as clients:
        stop(server, "relay")
        clients.go_on(100)


def test_a_supervisor_that_pauses_loses_nothing(start_server, mode):
    """For longer than it would wait for a zygote's answer."""
    server = start_server(**user(mode))
    with load.on(server) as clients:
        front = server.front()
        os.kill(server.pid, signal.SIGSTOP)
        time.sleep(6)  # the pause itself
        os.kill(server.pid, signal.SIGCONT)
        clients.go_on()
        assert alive(front)


def test_a_run_that_is_stopped_has_its_time(start_server, mode):
    server = start_server(**user(mode))
    flying = background(server.run, spin(60), limits={"wall_ms": 3000})
    os.kill(server.wait_busy().pid, signal.SIGSTOP)
    record = flying.result(PATIENCE)
    assert (record["status"], record["error"]["message"]) == ("time_limit", "time limit exceeded: 3 s")


@pytest.mark.parametrize("path", ("/execute", "/v1/runs"))
def test_a_run_that_cannot_begin_anew_in_its_time_is_lost(start_server, mode, path):
    """Its process is killed, and until there is another jail its time is over: that is nothing that the script did."""
    server = start_server("--pool", "1", **user(mode))
    if "namespaces" not in server.layers:
        pytest.skip("nobody can tell who killed a run here")
    flying = background(server.post, path, f'{{"script": "import time\\ndef main():\\n    time.sleep(2.5)\\n    return {{}}", "limits": {{"wall_ms": 3000}}}}')
    wait_until(lambda: 'safe_script_slots{state="running"} 1' in server.request("GET", "/metrics").body.decode(), "the run")
    stop(server, "zygote")
    for process in victims.FIND["run"](server):
        victims.send(process, signal.SIGKILL)
    answer = flying.result(PATIENCE)
    if path == "/execute":
        assert (answer.status, answer.error) == (500, load.LOST)
    else:
        assert (answer.json["status"], answer.json["error"]["message"]) == ("lost", load.LOST)
