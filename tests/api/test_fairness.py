"""Many clients and few places: nobody waits behind another's queue, and nobody waits for ever."""
import contextlib
import glob
import json
import os
import pathlib
import re

import pytest

import harness
from harness import HELLO, IS_ROOT, LONG, MIB, PATIENCE, background, wait_until

NAP = "import time\ndef main():\n    time.sleep(0.3)\n    return {}\n"


def from_address(server, address, script):
    """A request whose client has this address; all of 127.0.0.0/8 is this machine."""
    connection = harness.Connection(*server.address, timeout=PATIENCE, source_address=(address, 0))
    try:
        connection.request("POST", "/execute", json.dumps({"script": script}), {"Content-Type": "application/json"})
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def count(futures):
    return sum(each.done() for each in futures)


# By address, where there are no keys. Two addresses may be one owner by chance (1 in 256), three hardly.


def test_a_newcomer_does_not_wait_behind_another_s_queue(start_server):
    server = start_server("--concurrency", "1")
    greedy = [background(from_address, server, "127.0.0.1", NAP) for _ in range(40)]
    wait_until(lambda: count(greedy) >= 2, "the first answers")
    served_before = []
    for address in ("127.0.0.2", "127.0.0.3", "127.0.0.4"):
        assert from_address(server, address, HELLO)[0] == 200
        served_before.append(count(greedy))
    assert served_before[1] < 30, "three others waited for nearly all that one had asked for before"
    assert {each.result(PATIENCE)[0] for each in greedy} == {200}


def test_a_full_queue_has_room_for_who_has_nothing_in_it(start_server):
    server = start_server("--concurrency", "1", "--queue", "6", *LONG)
    with server.occupied() as free:
        greedy = [background(from_address, server, "127.0.0.1", HELLO) for _ in range(12)]
        wait_until(lambda: count(greedy) == 6, "six answers")
        others = [background(from_address, server, f"127.0.0.{n}", HELLO) for n in (2, 3, 4)]
        wait_until(lambda: count(greedy) + count(others) == 9, "the newest of the greedy one's make room")
        assert count(others) <= 1, "refused, though another had most of the queue"
        free()
        assert [each.result(PATIENCE)[0] for each in others].count(200) >= 2
        statuses = [each.result(PATIENCE)[0] for each in greedy]
        assert set(statuses) == {200, 429} and statuses.count(200) >= 3


def test_who_was_refused_is_not_once_there_is_room(start_server, mode):
    """A full queue refuses at once, and for only as long as it is full: until one goes from it, whether it is served or its client has gone."""
    server = start_server("--concurrency", "1", "--queue", "2", *LONG, user=mode == "user")

    def waiting():
        return metric(server, "safe_script_queue_length")

    def accepted():
        """One that waits, or None where it was refused."""
        asked = background(server.execute, HELLO)
        wait_until(lambda: asked.done() or waiting() == 2, "an answer, or a place in the queue")
        return None if asked.done() else asked

    body = HELLO.encode()
    with server.occupied() as free, server.wire() as first, server.wire() as second:
        for wire in (first, second):
            wire.send(b"POST /execute HTTP/1.1\r\nHost: x\r\nContent-Type: text/x-python\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        wait_until(lambda: waiting() == 2, "a full queue")
        for path in ("/execute", "/v1/runs") * 5:
            answer = server.post(path, json.dumps({"script": HELLO}))
            assert answer.status == 429 and int(answer.headers["Retry-After"]) >= 1
            assert "the queue is full: try again in" in answer.body.decode()
        second.close()
        wait_until(lambda: waiting() == 1, "the end of whose client has gone")
        third = wait_until(accepted, "a place")
        assert server.execute(HELLO).status == 429, "and now it is full again"
        free()
        assert third.result(PATIENCE).status == 200 and first.answer().status == 200
    server.assert_serves()


def test_more_connections_than_there_may_be(start_server, mode):
    """Those that wait for nothing make room; where all wait for their answers the next is told to come back."""
    server = start_server("--connections", "16", "--concurrency", "1", *LONG, user=mode == "user")
    body = HELLO.encode()
    with server.occupied() as free, server.wire() as idle, contextlib.ExitStack() as stack:

        def refused():
            """Whoever's request has not come yet still makes room, so there is one more for each that is not refused."""
            waits = stack.enter_context(server.wire())
            waits.send(b"POST /execute HTTP/1.1\r\nHost: x\r\nContent-Type: text/x-python\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            another = stack.enter_context(server.wire())
            another.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" + b"x" * 100_000)
            answer = another.answer()
            return answer and answer.status == 503 and another.closed() and answer

        answer = wait_until(refused, "all to wait for their answers")
        assert idle.closed()
        assert answer.error == "too many connections: try again in 1 s"
        assert answer.headers["Retry-After"] == "1"
        free()
    wait_until(lambda: (answer := server.raw(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")[0]) and answer.status == 200, "room again")
    server.assert_serves()


# Deadlines.


@pytest.mark.parametrize("options", ({}, {"limits": {"disk_bytes": 1 << 20}}), ids=("usual", "odd disk"))
def test_who_waits_too_long_is_told_so(start_server, mode, options):
    server = start_server("--concurrency", "1", "--queue-timeout-ms", "500", *LONG, user=mode == "user")
    with server.occupied() as free:
        answer = server.execute(HELLO, **options)
        assert answer.status == 429
        assert answer.error.startswith("no place came free in time: try again in")
        assert int(answer.headers["Retry-After"]) >= 1
        free()
    assert background(server.execute, HELLO).result(PATIENCE).status in (200, 429)
    wait_until(lambda: server.execute(HELLO).status == 200, "the next run")


# How much at all.


def metric(server, name):
    page = server.request("GET", "/metrics").body.decode()
    return float(re.search(rf"^{name} (\S+)$", page, re.MULTILINE)[1])


@contextlib.contextmanager
def small_memory(size):
    """A cgroup that may have so much memory, where this kernel has the old hierarchies: its directory."""
    own = [line.strip().split(":") for line in open("/proc/self/cgroup")]
    path = next(f"/sys/fs/cgroup/memory{path}" for _, names, path in own if names == "memory")
    directory = pathlib.Path(path, f"bounds-test-{os.getpid()}")
    directory.mkdir()
    try:
        (directory / "memory.limit_in_bytes").write_text(str(size))
        yield directory
    finally:
        wait_until(lambda: not (directory / "cgroup.procs").read_text(), "its last process")
        wait_until(lambda: not any(each.is_dir() for each in directory.iterdir()), "the server's own cgroups")
        directory.rmdir()


@pytest.mark.skipif(not IS_ROOT or not glob.glob("/sys/fs/cgroup/memory/memory.limit_in_bytes"), reason="makes a v1 cgroup; tests/unit has both versions")
def test_places_by_a_container_s_memory(launch):
    with small_memory(1024 * MIB) as directory:
        own = pathlib.Path("/proc/self/cgroup").read_text()
        home = directory.parent / "cgroup.procs"
        (directory / "cgroup.procs").write_text(str(os.getpid()))
        try:
            server = launch()
        finally:
            home.write_text(str(os.getpid()))
        assert pathlib.Path("/proc/self/cgroup").read_text() == own
        try:
            assert metric(server, "safe_script_concurrency_limit") == 3
        finally:
            server.stop()


def test_requests_that_wait_count_as_held(start_server):
    server = start_server("--concurrency", "1", "--buffered-bytes", str(1 * MIB), *LONG)
    large = HELLO + "#" * (400 << 10)
    with server.occupied() as free:
        waiting = [background(server.execute, large) for _ in range(2)]
        wait_until(lambda: metric(server, "safe_script_http_body_bytes") >= 800 << 10, "two requests that wait")
        answer = server.execute(large)
        assert (answer.status, answer.error) == (429, "too many request bodies are being received")
        assert int(answer.headers["Retry-After"]) >= 1
        free()
        assert [each.result(PATIENCE).status for each in waiting] == [200, 200]
    wait_until(lambda: metric(server, "safe_script_http_body_bytes") == 0, "nothing is held any more")
    assert server.execute(large).status == 200
