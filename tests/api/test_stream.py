"""CONTRACT.md section 2: the events of a run as they happen, and again afterwards.

Nothing here is proved by a time: that an event came while its run went on is shown by what the client does next, which
would be impossible else.
"""
import json
import os
import pathlib
import signal
import socket
import struct

import pytest

from harness import (
    HELLO, KIB, MANY_THREADS, MIB, MODES, alive, is_python, pid_depth, process_of_many_threads, text_of, wait_until
)

FOREVER = "\n    import time\n    time.sleep(1000)\n"  # until it is cancelled; else it ends with time_limit


@pytest.fixture(scope="module", params=MODES)
def patient(request, launch):
    """A server whose runs have so much time that a busy machine makes no difference."""
    running = launch("--limits.wall_ms", "120s", "--heartbeat-ms", "100ms", "--body-timeout-ms", "3600s", user=request.param == "user")
    yield running
    running.stop()


def names(events):
    return [event.name for event in events]


def test_a_whole_stream(server):
    with server.stream("import sys\ndef main():\n    print('out')\n    print('err', file=sys.stderr)\n    return {'z': 1, 'a': 2**70}\n") as stream:
        assert stream.status == 200
        assert stream.headers["Content-Type"] == "text/event-stream"
        assert stream.headers["Cache-Control"] == "no-store"
        events = stream.rest()
    assert names(events)[0] == "started" and names(events)[-2:] == ["result", "finished"]
    assert sorted(names(events)[1:-2]) == ["stderr", "stdout"]
    started, result, finished = events[0].data, events[-2].data, events[-1].data
    assert started == {"id": finished["id"], "status": "running", "environment": "default"}
    assert list(result.items()) == [("z", 1), ("a", 2**70)]
    assert finished["status"] == "ok" and finished["result"] == result
    assert (text_of(events, "stdout"), text_of(events, "stderr")) == ("out\n", "err\n") == (finished["stdout"], finished["stderr"])
    assert server.state(started["id"]) == finished


def test_a_python_body_can_be_streamed(server):
    with server.streamed("POST", "/v1/runs", HELLO, {"Content-Type": "text/x-python", "Accept": "text/event-stream"}) as stream:
        assert names(stream.rest()) == ["started", "result", "finished"]


ACCEPT = {
    "*/*": False,
    "application/json": False,
    "text/html": False,
    "text/event-stream": True,
    "text/event-stream, application/json;q=0.9": True,
    "application/json, text/event-stream": False,
    "application/json;q=0.1, text/event-stream;q=0.2": True,
    "text/event-stream;q=0, */*": False,
}


@pytest.mark.parametrize("accept, streamed", ACCEPT.items(), ids=ACCEPT)
def test_accept_chooses(server, accept, streamed):
    answer = server.request("POST", "/v1/runs", HELLO, {"Content-Type": "text/x-python", "Accept": accept})
    assert answer.status == 200
    assert answer.headers["Content-Type"] == ("text/event-stream" if streamed else "application/json")


def test_several_accept_headers_are_one_list(server):
    head = "POST /v1/runs HTTP/1.1\r\nHost: x\r\nContent-Type: text/x-python\r\nContent-Length: %d\r\nAccept: application/json;q=0.1\r\nAccept: text/event-stream\r\n\r\n"
    with server.wire() as wire:
        wire.send((head % len(HELLO) + HELLO).encode())
        assert b"200" in wire.stream.readline()
        assert b"text/event-stream" in b"".join(iter(wire.stream.readline, b"\r\n"))


def test_the_small_face_streams_nothing(server):
    answer = server.request("POST", "/execute", HELLO, {"Content-Type": "text/x-python", "Accept": "text/event-stream", "Prefer": "respond-async"})
    assert (answer.status, answer.body) == (200, b'{"result":{"message":"hello"},"stdout":""}')


def test_output_comes_while_the_run_goes_on(patient):
    """Lines that are printed, without a flush: the run is ended by a client that has seen them."""
    with patient.stream("import sys\ndef main():\n    print('one')\n    print('two', file=sys.stderr)" + FOREVER) as stream:
        run = stream.next().data["id"]
        seen = []
        while len(seen) < 2:
            seen.append(stream.next())
        assert sorted((event.name, event.data["text"]) for event in seen) == [("stderr", "two\n"), ("stdout", "one\n")]
        assert patient.state(run)["status"] == "running"
        record = patient.delete(run).json
        assert record["status"] == "cancelled"
        last = stream.rest()
    assert names(last) == ["finished"] and last[0].data == record


def test_what_is_not_a_line_comes_with_its_flush(patient):
    script = "import sys\ndef main():\n    sys.stdout.write('a')\n    print('x', file=sys.stderr)\n    sys.stdout.write('b')\n    sys.stdout.flush()" + FOREVER
    with patient.stream(script) as stream:
        events = stream.until("stdout")
        # two pipes: which of them is read first is nobody's promise
        assert names(events) in (["started", "stderr", "stdout"], ["started", "stdout"]) and events[-1].data == {"text": "ab"}


def test_a_silent_stream_has_heartbeats(patient):
    with patient.stream("import time\ndef main():\n    time.sleep(2)\n    return {}\n") as stream:
        assert names(stream.rest()) == ["started", "result", "finished"]
        assert stream.comments >= 1


def test_a_character_in_two_writes_is_whole(patient):
    script = r"""
        import os, time
        def main():
            os.write(1, b"a\xe2\x82")
            os.write(2, b"between")
            time.sleep(0.5)
            os.write(1, b"\xac\xf0\x9f")
            return {}
    """
    with patient.stream(script) as stream:
        events = stream.rest()
    texts = [event.data["text"] for event in events if event.name == "stdout"]
    assert "".join(texts) == "a€\ufffd", "where a busy machine saw pieces apart or together, no character is in two"
    assert events[-1].data["stdout"] == "a€\ufffd"


def test_bytes_that_are_no_text(server):
    with server.stream("import os\ndef main():\n    for n in range(256):\n        os.write(1 + n % 2, bytes([n, 10]))\n    return {}\n") as stream:
        events = stream.rest()
    record = events[-1].data
    assert text_of(events, "stdout") == record["stdout"] == server.state(record["id"])["stdout"]
    assert text_of(events, "stderr") == record["stderr"]
    assert "\ufffd" in record["stdout"]


def test_output_past_the_limit_is_not_streamed(server):
    script = "import sys\ndef main():\n    for n in range(100):\n        print('☃' * 99)\n        print('e', n, file=sys.stderr)\n    return {}\n"
    with server.stream(script, limits={"output_bytes": 8 * KIB}) as stream:
        events = stream.rest()
    record = events[-1].data
    assert (record["status"], record["stdout_truncated"], record["stderr_truncated"]) == ("ok", True, False)
    assert text_of(events, "stdout") == record["stdout"]
    assert 8 * KIB - 3 < len(record["stdout"].encode()) <= 8 * KIB
    assert text_of(events, "stderr") == record["stderr"] == "".join(f"e {n}\n" for n in range(100))


FAILURES = {
    "script_error": ("def main():\n    print('before')\n    1 / 0\n", {}),
    "contract_error": ("def main():\n    print('before')\n", {}),
    "time_limit": ("import time\ndef main():\n    print('before')\n    time.sleep(50)\n", {"wall_ms": 1000}),
    "output_limit": ("def main():\n    print('before')\n    while True: print('x' * 999)\n", {"output_bytes": 8192}),
    "killed": ("import os\ndef main():\n    print('before')\n    os.kill(os.getpid(), 9)\n", {}),
    "exited": ("import os\ndef main():\n    print('before')\n    os._exit(3)\n", {}),
}


@pytest.mark.parametrize("status", FAILURES)
def test_a_failed_run_ends_without_a_result(server, status):
    script, limits = FAILURES[status]
    with server.stream(script, limits=limits) as stream:
        events = stream.rest()
    assert events[-1].name == "finished" and events[-1].data["status"] == status
    assert "result" not in names(events)
    assert text_of(events, "stdout").startswith("before\n")


def test_a_bad_request_is_a_problem_not_a_stream(server):
    for body in ({"script": 5}, {"script": HELLO, "colour": 1}):
        answer = server.request("POST", "/v1/runs", json.dumps(body), {"Content-Type": "application/json", "Accept": "text/event-stream"})
        assert (answer.status, answer.headers["Content-Type"]) == (400, "application/problem+json")


def test_a_full_queue_is_a_problem_not_a_stream(start_server, mode):
    server = start_server("--concurrency", 1, "--pool", 1, "--queue", 1, "--limits.wall_ms", "120s", user=mode == "user")
    with server.stream("def main():" + FOREVER) as stream:
        stream.until("started")
        waiting = server.start(HELLO)
        answer = server.request("POST", "/v1/runs", HELLO, {"Content-Type": "text/x-python", "Accept": "text/event-stream"})
        assert (answer.status, answer.headers["Content-Type"]) == (429, "application/problem+json")
        assert int(answer.headers["Retry-After"]) >= 1
    assert server.wait_over(waiting)["status"] == "ok"


# Again, afterwards and elsewhere.


def test_a_stream_can_be_resumed_after_any_event(server):
    script = "import sys\ndef main():\n    for n in range(50):\n        print('out', n, '☃')\n        print('err', n, file=sys.stderr)\n    return {'n': 50}\n"
    with server.stream(script) as stream:
        whole = stream.rest()
    run = whole[0].data["id"]
    for at, event in enumerate(whole[:-1]):
        with server.events(run, event.id) as stream:
            assert stream.status == 200
            rest = stream.rest()
        for name in ("stdout", "stderr"):
            assert text_of(rest, name) == text_of(whole[at + 1 :], name)
        kept = [each for each in whole[at + 1 :] if each.name not in ("stdout", "stderr")]
        assert [each for each in rest if each.name not in ("stdout", "stderr")] == kept
    with server.events(run) as stream:
        again = stream.rest()
    assert (again[0], again[-2:]) == (whole[0], whole[-2:])
    assert text_of(again, "stdout") == "".join(f"out {n} ☃\n" for n in range(50))
    assert text_of(again, "stderr") == "".join(f"err {n}\n" for n in range(50))
    # A client that has seen the last one is told so, in the way that ends an EventSource.
    answer = server.request("GET", f"/v1/runs/{run}/events", headers={"Last-Event-ID": str(whole[-1].id)})
    assert (answer.status, answer.body) == (204, b"")


@pytest.mark.parametrize("value", ("x", "-1", "1.5", "99999999999999999999", "1e3", "1 2", "999999"))
def test_an_id_that_was_never_given(server, value):
    with server.stream(HELLO) as stream:
        run = stream.rest()[0].data["id"]
    answer = server.request("GET", f"/v1/runs/{run}/events", headers={"Last-Event-ID": value})
    assert (answer.status, answer.headers["Content-Type"]) == (400, "application/problem+json")
    assert "Last-Event-ID" in answer.json["detail"]


def test_a_running_stream_can_be_followed_by_others(patient):
    run = patient.start("def main():\n    print('one')" + FOREVER)
    with patient.events(run) as first, patient.events(run) as second:
        seen = first.until("stdout")
        assert names(seen) == ["started", "stdout"] == names(second.until("stdout"))
        with patient.events(run, seen[0].id) as third:
            assert third.until("stdout") == seen[1:]
            patient.delete(run)
            ends = [each.rest() for each in (first, second, third)]
    assert ends[0] == ends[1] == ends[2]
    assert names(ends[0]) == ["finished"] and ends[0][0].data["status"] == "cancelled"


def test_the_connection_goes_on_after_a_stream(server):
    connection = server.connection()
    for _ in range(3):
        connection.request("POST", "/v1/runs", HELLO, {"Content-Type": "text/x-python", "Accept": "text/event-stream"})
        assert connection.getresponse().read().endswith(b"\n\n")
        connection.request("GET", "/healthz")
        assert connection.getresponse().read() == b'{"status":"ok"}'
    connection.close()


def test_head_of_a_stream_and_a_record(server):
    with server.stream(HELLO) as stream:
        record = stream.rest()[-1].data
    answer = server.request("HEAD", f"/v1/runs/{record['id']}/events")
    assert (answer.status, answer.headers["Content-Type"], answer.body) == (200, "text/event-stream", b"")
    answer = server.request("HEAD", f"/v1/runs/{record['id']}")
    assert (answer.status, answer.headers["Content-Type"], answer.body) == (200, "application/json", b"")
    assert int(answer.headers["Content-Length"]) == len(server.request("GET", f"/v1/runs/{record['id']}").body)


def test_nothing_follows_the_head_of_a_stream(patient):
    """What did would be read as the next answer."""
    run = patient.start("def main():\n    print('one')" + FOREVER)
    for path in (f"/v1/runs/{run}/events", f"/v1/runs/{patient.wait_over(patient.start(HELLO))['id']}/events"):
        with patient.wire() as wire:
            wire.send(f"HEAD {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            answer = wire.answer(head=True)
            assert (answer.status, answer.headers["Content-Type"]) == (200, "text/event-stream")
            assert wire.closed() and wire.rest == b""
    patient.delete(run)


def test_a_client_of_http_1_0(server):
    with server.wire() as wire:
        wire.send(b"POST /v1/runs HTTP/1.0\r\nAccept: text/event-stream\r\nContent-Type: text/x-python\r\nContent-Length: %d\r\n\r\n%s" % (len(HELLO), HELLO.encode()))
        assert wire.closed()
        head, body = wire.rest.split(b"\r\n\r\n", 1)
        assert b" 200 " in head.splitlines()[0] and b"chunked" not in head
        assert body.startswith(b"event: started\n") and body.endswith(b"}\n\n")


# Clients that go, and clients that are slow.


def test_a_client_that_goes_ends_its_run(patient):
    with patient.stream(MANY_THREADS) as stream:
        run = stream.until("stdout")[0].data["id"]
        process = process_of_many_threads(patient)
        stream.connection.sock.shutdown(socket.SHUT_RDWR)
        record = patient.wait_over(run)
        assert not alive(process)
    assert (record["status"], record["stdout"]) == ("cancelled", "one\n")


def test_a_client_that_only_follows_may_go(patient):
    run = patient.start("import time\ndef main():\n    print('one')\n    time.sleep(1)\n    print('two')\n    return {}\n")
    with patient.events(run) as stream:
        stream.until("stdout")
    record = patient.wait_over(run)
    assert (record["status"], record["stdout"]) == ("ok", "one\ntwo\n")


def open_connections(server):
    lines = server.request("GET", "/metrics").body.decode().splitlines()
    return sum(int(line.split()[-1]) for line in lines if line.startswith("safe_script_http_connections{"))


# What a stream is at when its client goes: what the script writes at once and then never again, and what the client has seen of it.
GOING = {"silent": ("'one'", 2), "sending": ("'\\x01' * 900000", 0)}


@pytest.mark.parametrize("how", ("closed", "reset", "half closed"))
@pytest.mark.parametrize("text, beats", GOING.values(), ids=GOING)
def test_nothing_is_left_of_clients_that_went(patient, text, beats, how):
    idle = patient.connection()  # an older one, which libmicrohttpd looks at first
    idle.request("GET", "/healthz")
    assert idle.getresponse().read()
    before = open_connections(patient)
    streams = [patient.stream(f"import time\ndef main():\n    print({text})\n    time.sleep(1000)\n") for _ in range(6)]
    for stream in streams:
        stream.until("stdout")
        while stream.comments < beats:
            stream.comments += stream.line() == ":"
        if how == "half closed":
            stream.connection.sock.shutdown(socket.SHUT_WR)
            continue
        if how == "reset":
            stream.connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        stream.close()
    wait_until(lambda: open_connections(patient) <= before, "the end of their connections")
    for stream in streams:
        stream.close()
    idle.close()
    patient.assert_serves()


def memory_of(process):
    for line in pathlib.Path("/proc", str(process.pid), "status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * KIB
    raise AssertionError(process)


def test_slow_readers_neither_hold_the_run_nor_grow_the_server(patient):
    """Forty that read nothing at all: the run ends as if nobody were there, and costs its own memory once."""
    front = patient.front()
    before = memory_of(front)
    run = patient.start("import sys\ndef main():\n    for _ in range(256):\n        print('\\x01' * 1023)\n        print('e' * 1023, file=sys.stderr)\n    return {}\n")
    readers = [patient.events(run) for _ in range(40)]
    record = patient.wait_over(run)
    assert record["status"] == "ok" and len(record["stdout"]) == 256 * KIB == len(record["stderr"])
    assert memory_of(front) - before < 24 * MIB
    for reader in readers[:3]:  # and each has it all, when it comes to that
        events = reader.rest()
        assert text_of(events, "stdout") == record["stdout"] and events[-1].data == record
    for reader in readers:
        reader.close()


def test_a_run_has_a_hundred_readers_at_most(patient):
    """Whatever it writes is sent to each of them: one client could have the server do nothing else."""
    run = patient.start("def main():\n    print('one')" + FOREVER)
    readers = [patient.events(run) for _ in range(100)]
    assert {reader.status for reader in readers} == {200}
    answer = patient.request("GET", f"/v1/runs/{run}/events")
    assert answer.status == 429 and int(answer.headers["Retry-After"]) >= 1
    readers.pop().close()
    wait_until(lambda: not readers.append(patient.events(run)) and readers[-1].status == 200, "room for another")
    patient.delete(run)
    for reader in readers:
        if reader.status == 200:
            assert names(reader.rest())[-1] == "finished"
        reader.close()


def test_a_run_that_had_to_begin_anew_says_so(patient):
    """Its process is killed from outside: what it had said never was."""
    depth = pid_depth(patient.pid)
    with patient.stream("def main():\n    print('one')" + FOREVER) as stream:
        first = stream.until("stdout")
        for process in patient.children():
            if is_python(process) and pid_depth(process.pid) > depth:
                os.kill(process.pid, signal.SIGKILL)
        again = stream.until("stdout")
        # more than once, where a jail of the killed pool took it before that was gone
        assert names(again)[-1] == "stdout" and set(names(again)[:-1]) == {"started"}
        assert [again[0].data, again[-1].data] == [event.data for event in first]
        record = patient.delete(first[0].data["id"]).json
    assert (record["status"], record["stdout"]) == ("cancelled", "one\n")


def test_a_stream_goes_to_its_end_when_the_server_stops(start_server, mode):
    server = start_server(user=mode == "user")
    with server.stream("import time\ndef main():\n    print('one')\n    time.sleep(2)\n    print('two')\n    return {}\n") as stream:
        stream.until("stdout")
        server.process.send_signal(signal.SIGTERM)
        last = stream.rest()
    assert names(last) == ["stdout", "result", "finished"]
    assert server.wait_exit() == 0
