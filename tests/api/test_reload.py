"""SIGHUP: what changes, what does not, and that nothing in flight notices."""
import json
import os
import pathlib
import signal
import socket

import pytest

from harness import HELLO, LONG, MIB, PATIENCE, alive, background, free_port, spin, wait_until

DONE = b'{"result":{"done":true},"stdout":""}'
READ = "the configuration was read again"
BROKEN = "the configuration is broken: the old one stays"
IN_FORCE = "new limits are in force"


def events(server):
    return [json.loads(line) for line in server.log_lines() if line]


def count(server, *names):
    return sum(1 for each in events(server) if each["event"].startswith(names))


@pytest.fixture
def configured(start_server, public_dir, mode):
    """configured(text, *flags) → (server, reload); reload(text) has the server read another text and waits until it
    has said what it makes of it."""

    def start(text, *flags):
        path = public_dir / "config.ini"
        path.write_text(text)
        server = start_server("--config", path, *flags, user=mode == "user")

        def reload(text):
            before = count(server, READ, BROKEN)
            path.write_text(text)
            os.kill(server.pid, signal.SIGHUP)
            wait_until(lambda: count(server, READ, BROKEN) > before, "a word about the new configuration")

        return server, reload

    return start


def config_of(server):
    line = server.process.args
    return pathlib.Path(line[line.index("--config") + 1])


def in_force(server, times=1):
    wait_until(lambda: count(server, IN_FORCE) >= times, "the new limits")


def test_a_limit_changes_and_the_run_in_flight_keeps_its_own(configured):
    server, reload = configured("[limits]\nwall_ms = 30s\ncpu_ms = 30s\n")
    flying = background(server.execute, spin(6))
    server.wait_busy()
    reload("[limits]\nwall_ms = 1500ms\ncpu_ms = 30s\n")
    in_force(server)
    answer = server.execute("import time\ndef main():\n    time.sleep(30)\n    return {}\n")
    assert (answer.status, answer.error) == (400, "time limit exceeded: 1.5 s")
    answer = flying.result(PATIENCE)
    assert (answer.status, answer.body) == (200, DONE)


def test_a_raised_limit_is_there_for_the_next_run(configured):
    server, reload = configured("[limits]\ndisk_bytes = 4MiB\nopen_files = 64\nmemory_bytes = 64MiB\n")
    script = f"""
        import resource
        def main():
            try:
                with open("f", "wb") as file:
                    file.write(bytes({8 * MIB}))
                room = True
            except OSError:
                room = False
            return {{"room": room, "files": resource.getrlimit(resource.RLIMIT_NOFILE)[0]}}
        """
    assert server.result(script) == {"room": False, "files": 64}
    reload("[limits]\ndisk_bytes = 16MiB\nopen_files = 128\nmemory_bytes = 512MiB\n")
    in_force(server)
    assert server.result(script) == {"room": True, "files": 128}
    limits = server.request("GET", "/openapi.json").body.decode()
    assert str(16 * MIB) in limits and str(4 * MIB) not in limits
    assert len(server.result(f"def main():\n    return {{'x': len(bytearray({128 * MIB}))}}\n")) == 1
    answer = server.execute(HELLO, limits={"disk_bytes": 32 * MIB})
    assert answer.status == 400 and "disk_bytes" in answer.error


def test_queued_runs_get_the_lower_limits_and_true_words(configured):
    limits = "[server]\nconcurrency = 1\n[limits]\ncpu_ms = 100s\nwall_ms = "
    server, reload = configured(limits + "100s\n")
    body = json.dumps({"script": spin(90)}).encode()
    with server.wire() as first:
        first.send(b"POST /execute HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        server.wait_busy()
        queued = [background(server.execute, "import time\ndef main():\n    time.sleep(90)\n    return {}\n") for _ in range(3)]
        reload(limits + "1s\n")
        in_force(server)
    assert [each.result(PATIENCE).error for each in queued] == ["time limit exceeded: 1 s"] * 3


def test_concurrency_queue_and_pool_change_at_once(configured):
    server, reload = configured("[server]\nconcurrency = 1\nqueue = 1\npool = 1\n", *LONG)
    with server.occupied():
        # Whichever of the two comes first waits in the queue; the other finds it full.
        pair = [background(server.execute, spin(1)) for _ in range(2)]
        wait_until(lambda: any(each.done() for each in pair), "a full queue")
        refused, waiting = sorted(pair, key=lambda each: not each.done())
        assert refused.result(PATIENCE).status == 429 and not waiting.done()
        reload("[server]\nconcurrency = 3\nqueue = 100\npool = 2\n")
        more = [background(server.execute, HELLO) for _ in range(20)]
        assert [each.result(PATIENCE).status for each in more] == [200] * 20
        assert waiting.result(PATIENCE).body == DONE
    reload("[server]\nconcurrency = 1\nqueue = 100\npool = 1\n")
    server.assert_serves()


def test_request_size_and_timeouts_change_on_connections_that_are_there(configured):
    server, reload = configured("[server]\nidle_timeout_ms = 60s\n[limits]\nrequest_bytes = 4KiB\n")
    body = json.dumps({"script": HELLO + "#" * 8000}).encode()
    head = b"POST /execute HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
    assert server.post("/execute", body).status == 413
    with server.wire() as wire:
        wire.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert wire.answer().status == 200
        reload("[server]\nidle_timeout_ms = 500ms\n[limits]\nrequest_bytes = 1MiB\n")
        in_force(server)
        idle = server.wire()
        wire.send(head + body)
        answer = wire.answer()
        # It may have been closed as idle by now; a connection that was not gets the new size.
        assert answer is None or answer.status == 200
        assert idle.closed(PATIENCE) and idle.rest == b""
        idle.close()
    assert server.post("/execute", body).status == 200


@pytest.mark.parametrize(
    "text, words",
    (
        ("[limits]\nwall_ms = 1s\nfrobnicate = 1\n", ("frobnicate", "line 3")),
        ("[server]\npool = many\n", ("pool", "many", "line 2")),
        ("[limits]\nwall_ms = 1s\n[nonsense]\nx = 1\n", ("nonsense", "line 4")),
        ("[limits]\nwall_ms = 1s\nwhat is this\n", ("line 3",)),
    ),
)
def test_a_broken_file_changes_nothing_and_says_where(configured, text, words):
    server, reload = configured("[limits]\nwall_ms = 20s\n")
    reload(text)
    (said,) = [each for each in events(server) if each["event"] == BROKEN]
    assert said["level"] == "error"
    assert all(word in said["reason"] for word in ("config.ini", *words)), said
    assert server.result("import time\ndef main():\n    time.sleep(1.5)\n    return {'x': 1}\n") == {"x": 1}
    reload("[limits]\nwall_ms = 900ms\n")
    in_force(server)
    assert server.execute("import time\ndef main():\n    time.sleep(30)\n    return {}\n").error == "time limit exceeded: 0.9 s"


def test_a_file_that_has_gone_changes_nothing(configured, public_dir):
    server, _ = configured("[limits]\nwall_ms = 20s\n")
    (public_dir / "config.ini").unlink()
    os.kill(server.pid, signal.SIGHUP)
    wait_until(lambda: count(server, BROKEN), "a word about it")
    server.assert_serves()


def test_what_waits_for_a_restart_is_named_and_stays(configured):
    port = free_port()
    server, reload = configured("[server]\nwalls = 1\n")
    reload(f"[server]\nwalls = 2\nlisten = 127.0.0.1:{port}\npython = /no/such/python\n")
    server.assert_serves()
    named = {each["setting"] for each in events(server) if each["event"] == "a changed setting waits for a restart"}
    assert {"walls", "python"} <= named
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), PATIENCE)


def test_log_level_changes_in_both_processes(configured):
    server, reload = configured("[server]\nlog_level = info\n")
    reload("[server]\nlog_level = error\n")
    lines = len(server.log_lines())
    for _ in range(5):
        server.assert_serves()
    assert server.log_lines()[lines:] == []
    os.kill(server.pid, signal.SIGHUP)  # says nothing at this level, either
    server.assert_serves()
    path = config_of(server)
    path.write_text("[server]\nlog_level = info\n")
    os.kill(server.pid, signal.SIGHUP)

    def told():
        server.assert_serves()
        return any('"event":"run"' in line for line in server.log_lines()[lines:])

    wait_until(told, "a run's line")


def test_limits_that_no_zygote_can_live_under_are_not_taken(configured):
    server, reload = configured("[limits]\nwall_ms = 20s\n")
    reload("[limits]\nwall_ms = 1s\ninodes = 64\ndisk_bytes = 64KiB\nmemory_bytes = 16MiB\n")
    # Either such jails can be made here, or the old ones go on; in both cases it serves or says why not.
    wait_until(lambda: count(server, IN_FORCE, "no zygote can be had under the new limits"), "a decision")
    reload("[limits]\nwall_ms = 20s\n")
    wait_until(lambda: background(server.execute, HELLO).result(PATIENCE).status == 200, "service")


def test_many_reloads_under_load_lose_no_request(configured):
    texts = [f"[server]\npool = {pool}\n[limits]\nwall_ms = {wall}s\n" for pool, wall in ((1, 20), (4, 25), (2, 30))]
    server, _ = configured(texts[0])
    path = config_of(server)
    stop = []

    def client(number):
        done = 0
        while not stop:
            answer = server.execute(f"def main():\n    return {{'n': {number * 100000 + done}}}\n")
            assert (answer.status, answer.json["result"]) == (200, {"n": number * 100000 + done}), answer
            done += 1
        return done

    clients = [background(client, number) for number in range(4)]
    tree = [server.front()]
    before = count(server, READ)
    for turn in range(12):
        path.write_text(texts[turn % 3])
        os.kill(server.pid, signal.SIGHUP)
        wait_until(lambda: count(server, READ) > before, "the configuration to be read", PATIENCE)
        before = count(server, READ)
    in_force(server)
    stop.append(True)
    assert all(each.result(PATIENCE) > 0 for each in clients)
    assert all(alive(process) for process in tree), "the front was restarted"


def test_hundreds_of_reloads_leave_no_memory_and_no_descriptor(configured):
    server, reload = configured("[server]\nqueue = 500\n")
    if not os.access(f"/proc/{server.pid}/fd", os.R_OK):
        pytest.skip("another user's descriptors")

    def resident():
        return int(open(f"/proc/{server.pid}/statm").read().split()[1]) * 4

    for turn in range(20):
        reload(f"[server]\nqueue = {500 + turn % 2}\n")
    memory, files = resident(), len(os.listdir(f"/proc/{server.pid}/fd"))
    for turn in range(200):
        reload(f"[server]\nqueue = {500 + turn % 2}\n")
    assert resident() < memory + 512
    assert len(os.listdir(f"/proc/{server.pid}/fd")) <= files + 30, "descriptors (a pool's worth is no leak)"
    server.assert_serves()
