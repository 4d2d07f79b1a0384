"""Start, stop, loss and repair: what a client and an operator see, and that nothing is left behind."""
import json
import os
import re
import signal
import socket
import subprocess
import time

import pytest

import harness
from harness import (
    HELLO, MANY_THREADS, PATIENCE, STOPPING, Traces, alive, background, cgroup_directories, descendants, is_python, pid_depth,
    process_of_many_threads, spin, wait_until,
)

DONE = b'{"result":{"done":true},"stdout":""}'
LONG = ("--limits.wall_ms", "60000", "--limits.cpu_ms", "60000")


def user(mode):
    return {"user": mode == "user"}


# A client that goes away.


@pytest.mark.parametrize("path", ("/execute", "/v1/runs"))
def test_the_run_of_a_gone_client_is_killed(start_server, mode, path):
    server = start_server(*LONG, **user(mode))
    body = json.dumps({"script": spin(55)}).encode()
    wire = server.wire()
    wire.send(b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % (path.encode(), len(body)) + body)
    run = server.wait_busy()
    wire.close()
    wait_until(lambda: not alive(run), "the end of the gone client's run", 20)
    wait_until(lambda: any('"cancelled"' in line for line in server.log_lines()), "a line about it in the log", 20)
    server.assert_serves()


def test_a_reset_connection_is_a_gone_client(start_server, mode):
    server = start_server(*LONG, **user(mode))
    body = json.dumps({"script": spin(55)}).encode()
    wire = server.wire()
    wire.send(b"POST /execute HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    run = server.wait_busy()
    wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # close() sends RST
    wire.close()
    wait_until(lambda: not alive(run), "the end of the gone client's run", 20)
    server.assert_serves()


def test_many_gone_clients_leave_room_for_others(start_server, mode):
    server = start_server(*LONG, "--concurrency", "2", **user(mode))
    body = json.dumps({"script": spin(55)}).encode()
    head = b"POST /execute HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
    wires = [server.wire() for _ in range(8)]
    for wire in wires:
        wire.send(head + body)
    server.wait_busy()
    for wire in wires:
        wire.close()
    assert background(server.execute, HELLO).result(PATIENCE).status == 200


# The end.


def test_sigterm_ends_an_idle_server(start_server, mode):
    server = start_server(**user(mode))
    server.assert_serves()
    server.stop()  # asserts exit status 0 and that nothing is left


def test_sigint_ends_it_as_well(start_server):
    server = start_server()
    server.process.send_signal(signal.SIGINT)
    assert server.wait_exit() == 0


def test_sigterm_before_it_is_ready(start_server, mode):
    server = start_server(ready=False, **user(mode))
    time.sleep(0.05)  # anywhere in its start; before the handler is there the signal's default action is as good
    server.process.send_signal(signal.SIGTERM)
    assert server.wait_exit() in (0, -signal.SIGTERM)
    server.traces.assert_clean(server.pid, [])


def test_sigterm_drains(start_server, mode):
    server = start_server(**user(mode))
    flying = background(server.execute, spin(4))
    server.wait_busy()
    tree = server.children()
    server.process.send_signal(signal.SIGTERM)
    answer = flying.result(PATIENCE)
    assert (answer.status, answer.body) == (200, DONE)
    assert server.wait_exit() == 0
    server.traces.assert_clean(server.pid, tree)


def test_an_answer_under_way_outlives_the_drain(start_server, mode):
    """Six megabytes of JSON for a client that reads it late: more than sockets hold by themselves."""
    server = start_server(**user(mode))
    body = json.dumps({"script": "def main():\n    print('\\x01' * 1000000)\n    return {}\n"}).encode()
    with server.wire() as wire:
        wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        wire.send(b"POST /execute HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        wire.socket.recv(1, socket.MSG_PEEK)  # it is decided
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.7)
        answer = wire.answer()
        assert answer.status == 200
        assert len(answer.body) > 6_000_000 and answer.json["result"] == {}
    assert server.wait_exit() == 0


def test_a_client_that_takes_no_answer_does_not_hold_up_the_end(start_server, mode):
    server = start_server("--grace-ms", "300s", **user(mode))
    body = json.dumps({"script": "def main():\n    print('\\x01' * 1000000)\n    return {}\n"}).encode()
    with server.wire() as wire:
        wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        wire.send(b"POST /execute HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        wire.socket.recv(1, socket.MSG_PEEK)
        server.process.send_signal(signal.SIGTERM)
        assert server.wait_exit() == 0


@pytest.mark.parametrize("said", (b"POST /exe", b"POST /execute HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 34\r\n\r\n{"))
def test_a_request_that_has_begun_is_answered(start_server, mode, said):
    """A client that the server has let in learns that it is to come again, and not that nobody is there."""
    server = start_server(**user(mode))
    request = b'POST /execute HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 34\r\n\r\n{"script":"def main(): return {}"}'
    with server.wire() as wire:
        wire.send(said)
        server.assert_serves()  # so it has been read
        server.process.send_signal(signal.SIGTERM)
        harness.wait_until(lambda: "stopping" in server.log.read_text(), "the drain")
        wire.send(request[len(said) :])
        answer = wire.answer()
        assert answer.status in (200, 503)
        assert answer.status == 200 or answer.headers["Retry-After"]
    assert server.wait_exit() == 0


def test_what_comes_while_draining_is_refused_or_answered(start_server):
    server = start_server()
    flying = background(server.execute, spin(4))
    server.wait_busy()
    server.process.send_signal(signal.SIGTERM)
    try:
        answer = server.execute(HELLO)
        assert answer.status in (200, 503)
    except (OSError, harness.http.client.HTTPException):
        pass  # it no longer listens
    assert flying.result(PATIENCE).status == 200
    assert server.wait_exit() == 0


def test_the_grace_time_ends_runs_that_go_on(start_server, mode):
    server = start_server(*LONG, "--grace-ms", "1000", **user(mode))
    flying = background(server.execute, spin(110))
    server.wait_busy()
    tree = server.children()
    server.process.send_signal(signal.SIGTERM)
    assert server.wait_exit(PATIENCE) == 0
    try:
        assert flying.result(PATIENCE).status in (400, 500, 503)
    except (OSError, harness.http.client.HTTPException):
        pass  # the connection ended with the server
    server.traces.assert_clean(server.pid, tree)


def test_kill_9_of_the_supervisor_leaves_no_process(start_server, mode):
    server = start_server(*LONG, **user(mode))
    flying = background(server.execute, spin(55))
    server.wait_busy()
    tree = server.children()
    assert len(tree) >= 3, "front, zygote, runs"
    server.process.kill()
    server.wait_exit()
    wait_until(lambda: not [each for each in tree if alive(each)], "the end of every process of a killed server")
    wait_until(lambda: not Traces.orphans(), "no orphans")
    with pytest.raises(Exception):
        assert flying.result(PATIENCE).status == 200
    if cgroup_directories(server.pid):
        start_server(**user(mode))  # the next one clears up
        wait_until(lambda: not cgroup_directories(server.pid), "no cgroups of a dead server", STOPPING)


# Repair.


def test_kill_9_of_the_zygote_is_not_noticed_by_clients(start_server, mode):
    server = start_server(**user(mode))
    server.assert_serves()
    flying = background(server.execute, spin(4))
    server.wait_busy()
    lines = len(server.log_lines())
    (zygote, *_) = server.zygotes()
    os.kill(zygote.pid, signal.SIGKILL)
    answer = flying.result(PATIENCE)
    assert (answer.status, answer.body) == (200, DONE)
    wait_until(lambda: server.zygotes() and server.zygotes()[0].pid != zygote.pid, "another zygote")
    wait_until(lambda: any("zygote" in line for line in server.log_lines()[lines:]), "a line about it in the log")
    for _ in range(10):
        server.assert_serves()


def test_kill_9_of_the_zygote_with_requests_waiting(start_server, mode):
    server = start_server("--concurrency", "2", **user(mode))
    flying = [background(server.execute, spin(1)) for _ in range(8)]
    server.wait_busy()
    os.kill(server.zygotes()[0].pid, signal.SIGKILL)
    assert [each.result(PATIENCE).body for each in flying] == [DONE] * 8


def test_zygotes_killed_again_and_again(start_server, mode):
    server = start_server(**user(mode))
    for _ in range(3):
        zygote = wait_until(server.zygotes, "a zygote")[0]
        os.kill(zygote.pid, signal.SIGKILL)
        wait_until(lambda gone=zygote: not alive(gone), "its end")
        server.wait_ready()
        assert background(server.execute, HELLO).result(PATIENCE).status == 200


def test_a_run_killed_from_outside_once_is_run_again(start_server, mode):
    server = start_server(**user(mode))
    # It computes next to nothing: a run with CPU time behind it could have been killed for a limit of its own.
    flying = background(server.execute, MANY_THREADS.replace('time.sleep(1000)\n', 'time.sleep(4)\n    return {"done": True}\n'))
    run = process_of_many_threads(server)
    os.kill(run.pid, signal.SIGKILL)
    answer = flying.result(PATIENCE)
    if "namespaces" in server.layers:
        assert (answer.status, answer.json["result"]) == (200, {"done": True})
    else:  # a script could have sent it to itself
        assert answer.error == "script was killed by signal SIGKILL"


def test_waiting_jails_killed_from_outside_are_replaced(start_server, mode):
    server = start_server(**user(mode))
    depth = pid_depth(server.pid)
    for process in server.children():
        if is_python(process) and pid_depth(process.pid) > depth:
            os.kill(process.pid, signal.SIGKILL)
    for _ in range(5):
        server.assert_serves()


def test_kill_9_of_the_front(start_server, mode):
    server = start_server(*LONG, **user(mode))
    flying = background(server.execute, spin(55))
    run = server.wait_busy()
    lines = len(server.log_lines())
    front = server.front()
    os.kill(front.pid, signal.SIGKILL)
    wait_until(lambda: (now := server.front()) and now.pid != front.pid, "another front")
    server.wait_ready()
    server.assert_serves()
    wait_until(lambda: any("front" in line for line in server.log_lines()[lines:]), "a line about it in the log")
    wait_until(lambda: not alive(run), "the end of the run that nobody waits for")
    with pytest.raises(Exception):
        flying.result(PATIENCE)


# Where it listens.


def test_unix_socket(start_server, public_dir, mode):
    path = public_dir / "socket"
    server = start_server(listen=path, **user(mode))
    server.assert_serves()
    assert server.run(HELLO)["status"] == "ok"
    server.stop()
    assert not path.exists(), "the socket's file is left behind"


def test_a_stale_unix_socket_is_replaced(start_server, public_dir, mode):
    path = public_dir / "socket"
    server = start_server(listen=path, **user(mode))
    server.process.kill()
    server.wait_exit()
    wait_until(lambda: not Traces.orphans(), "no orphans")
    start_server(listen=path, **user(mode)).assert_serves()


def test_two_listeners_at_once(start_server, public_dir):
    path = public_dir / "socket"
    server = start_server("--listen", f"unix:{path}")
    server.assert_serves()
    connection = harness.UnixConnection(str(path), PATIENCE)
    connection.request("GET", "/readyz")
    assert connection.getresponse().status == 200
    connection.close()


def test_ipv6(start_server):
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("no IPv6 loopback here")
    port = harness.free_port()
    start_server("--listen", f"[::1]:{port}")
    with socket.create_connection(("::1", port), PATIENCE) as connected:
        connected.sendall(b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert connected.recv(100).startswith(b"HTTP/1.1 200")


def test_port_from_the_environment(start_server):
    port = harness.free_port()
    start_server(listen="", port=port, env={"PORT": str(port)}).assert_serves()


def test_two_servers_at_once(start_server, mode):
    first, second = start_server(**user(mode)), start_server(**user(mode))
    flying = [background(server.execute, spin(1)) for server in (first, second, first, second)]
    assert [each.result(PATIENCE).body for each in flying] == [DONE] * 4
    first.stop()
    second.assert_serves()


def test_the_end_of_one_server_does_not_touch_anothers_runs(start_server, mode):
    first, second = start_server(**user(mode)), start_server(**user(mode))
    flying = background(second.execute, spin(3))
    second.wait_busy()
    first.stop()
    assert flying.result(PATIENCE).body == DONE


@pytest.mark.skipif(not harness.IS_ROOT, reason="pid namespaces without user namespaces are root's")
def test_two_servers_of_one_pid(start_server):
    """As in two containers that share the cgroup file system: each has its own cgroup, and the end of one is not the other's."""
    if subprocess.run(("unshare", "--pid", "--mount", "true"), stderr=subprocess.DEVNULL).returncode:
        pytest.skip("a container's root, who may make no namespace")
    outer = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "--")
    first, second = (start_server(*LONG, wrap=outer) for _ in range(2))

    def stop(server):
        (inner,) = [each for each in server.children() if pid_depth(each.pid) == 2 and each.parent == server.pid]
        os.kill(inner.pid, signal.SIGTERM)
        assert server.wait_exit() == 0

    assert first.layers == second.layers
    flying = background(second.execute, spin(3))
    second.wait_busy()
    stop(first)
    assert flying.result(PATIENCE).body == DONE
    third = start_server(wrap=outer)
    assert third.layers == second.layers
    for server in (second, third):
        server.assert_serves()
        stop(server)


def test_a_port_in_use_is_a_clear_error(cli, mode):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ended = cli("serve", "--listen", f"127.0.0.1:{port}", mode=mode)
    assert ended.returncode != 0
    assert str(port).encode() in ended.stderr
    assert b"in use" in ended.stderr


# The log.


def test_each_run_has_one_line_in_the_log(start_server, mode):
    server = start_server(**user(mode))
    marker = "marker_of_this_script"
    for body, status in (("return {'x': '%s'}" % marker, "ok"), ("raise ValueError('%s')" % marker, "script_error")):
        record = server.run(f"def main():\n    print('{marker}')\n    {body}\n", input=None, stdin=marker)
        assert record["status"] == status

        def about(wanted=record["id"]):
            return [line for line in server.log_lines() if f'"{wanted}"' in line]

        wait_until(about, "the run's line in the log")
        (line,) = about()
        fields = json.loads(line)
        assert status in fields.values()
        assert any(re.search("wall|ms", key) for key in fields)
    assert marker not in "\n".join(server.log_lines())


def test_every_line_of_the_log_is_json(start_server, mode):
    server = start_server(**user(mode))
    server.execute(HELLO)
    server.execute("def main(): raise ValueError('\x1b[31m\\n{\"level\":\"error\"}')\n")
    server.request("GET", "/%7f%0a%0dnope")
    server.stop()
    lines = [json.loads(line) for line in server.log_lines() if line]
    assert lines
    for line in lines:
        assert {"time", "level", "process", "event"} <= set(line)
        assert line["level"] in ("debug", "info", "warning"), line


def test_the_log_says_where_it_listens(start_server):
    server = start_server()
    assert any(str(server.port) in line for line in server.log_lines())


# Load.


def test_many_runs_leave_nothing_behind(start_server, mode):
    server = start_server(**user(mode))
    server.assert_serves()
    before = len(server.children())

    def burst():
        flying = [background(server.execute, f"def main():\n    return {{'n': {n}}}\n") for n in range(200)]
        assert all(each.result(PATIENCE).json["result"] == {"n": n} for n, each in enumerate(flying))

    def is_open():
        # The server is not dumpable: what it has open is for root to see.
        return len(os.listdir(f"/proc/{server.pid}/fd")) if harness.IS_ROOT and mode == "root" else 0

    def nothing_new():
        descriptors = is_open()
        burst()
        return is_open() <= descriptors + 40

    # A slot that has been used keeps its cgroup open: there are only so many, and then a burst leaves nothing.
    wait_until(nothing_new, "as many descriptors as before")
    wait_until(lambda: len(server.children()) <= before + 4, "as many processes as before")


def test_a_daemon_does_not_outlive_the_answer(start_server):
    server = start_server(*LONG)
    if not server.can_fork:
        pytest.skip("no fork in this jail")
    server.run(
        """
        import os
        def main():
            if os.fork() == 0:
                os.setsid() if hasattr(os, "setsid") else None
                if os.fork() == 0:
                    while True: pass
                os._exit(0)
            os.wait()
            return {}
        """
    )
    assert not server.busy(ticks=30, seconds=1.0), "a process of an answered run computes"
    assert all(process.state != "Z" for process in descendants(server.pid))


def test_it_starts_with_every_descriptor_closed(builds):
    """No stdin, stdout or stderr: nothing may end up on a descriptor that means something else."""
    port = harness.free_port()
    line = harness.command(builds[harness.MODES[0]], harness.MODES[0], "serve", "--listen", f"127.0.0.1:{port}", *harness.FLAGS, *harness.python_flag())
    process = subprocess.Popen(["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *line], env=harness.environment(), cwd="/")
    log = harness.pathlib.Path("/dev/null")
    server = harness.Server(process, harness.MODES[0], ("127.0.0.1", port), log)
    server.traces = Traces()
    try:
        server.wait_ready()
        server.assert_serves()
        assert server.result("import os\ndef main():\n    os.write(1, b'')\n    return {'x': 1}\n") == {"x": 1}
    finally:
        server.stop()
