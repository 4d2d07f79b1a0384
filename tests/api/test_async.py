"""CONTRACT.md section 2: runs that are asked for with Prefer: respond-async, their records, and DELETE."""
import os
import re
import signal
import time

import pytest

from harness import HELLO, MANY_THREADS, MIB, MODES, alive, process_of_many_threads, wait_until

FOREVER = "import time\ndef main():\n    print('one', flush=True)\n    time.sleep(1000)\n"
PYTHON = {"Content-Type": "text/x-python"}


@pytest.fixture(scope="module", params=MODES)
def patient(request, launch):
    """A server whose runs have so much time that a busy machine makes no difference."""
    running = launch("--limits.wall_ms", "120s", user=request.param == "user")
    yield running
    running.stop()


def wait_running(server, run):
    wait_until(lambda: server.state(run)["status"] == "running", "the run's begin")


def problem(answer):
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json["status"] == answer.status
    return answer.status


def test_an_asynchronous_run(server):
    answer = server.request("POST", "/v1/runs", HELLO, {**PYTHON, "Prefer": "respond-async"})
    assert answer.status == 202
    assert answer.headers["Preference-Applied"] == "respond-async"
    state = answer.json
    assert re.fullmatch("run_[0-9a-f]{48}", state["id"])
    assert answer.headers["Location"] == f"/v1/runs/{state['id']}"
    if state["status"] in ("queued", "running"):  # it may be over already
        assert state == {"id": state["id"], "status": state["status"], "environment": "default"}
    record = server.wait_over(state["id"])
    assert (record["id"], record["status"], record["result"]) == (state["id"], "ok", {"message": "hello"})
    assert list(record) == list(server.run(HELLO)), "the same record as that of a synchronous run"
    assert server.state(state["id"]) == record
    answer = server.request("GET", answer.headers["Location"])
    assert (answer.headers["Content-Type"], answer.headers["Cache-Control"]) == ("application/json", "no-store")


PREFER = {
    "respond-async": True,
    "Respond-Async, wait=10": True,
    "return=minimal, respond-async": True,
    "wait=10": False,
    "respond-asynchronously": False,
}


@pytest.mark.parametrize("prefer, async_", PREFER.items(), ids=PREFER)
def test_prefer_chooses(server, prefer, async_):
    answer = server.request("POST", "/v1/runs", HELLO, {**PYTHON, "Prefer": prefer})
    assert answer.status == (202 if async_ else 200)
    assert ("Preference-Applied" in answer.headers) == async_


def test_asynchronous_goes_before_streaming(server):
    answer = server.request("POST", "/v1/runs", HELLO, {**PYTHON, "Prefer": "respond-async", "Accept": "text/event-stream"})
    assert (answer.status, answer.headers["Content-Type"]) == (202, "application/json")
    with server.events(answer.json["id"]) as stream:
        assert [event.name for event in stream.rest()] == ["started", "result", "finished"]


def test_many_at_once(server):
    runs = [server.start("def main(n):\n    print(n)\n    return {'n': n}\n", input=n) for n in range(50)]
    assert len(set(runs)) == 50
    for n, run in enumerate(runs):
        record = server.wait_over(run)
        assert (record["status"], record["result"], record["stdout"]) == ("ok", {"n": n}, f"{n}\n")


def test_failures_are_in_the_record(server):
    assert server.wait_over(server.start("def main():\n    1 / 0\n"))["status"] == "script_error"
    assert server.wait_over(server.start("import time\ndef main():\n    time.sleep(50)\n", limits={"wall_ms": 1000}))["status"] == "time_limit"
    assert server.wait_over(server.start("def main():\n    open('f', 'w').write('x')\n    return {}\n", return_files=["*"]))["files"]


def test_a_bad_request_is_refused_at_once(server):
    answer = server.request("POST", "/v1/runs", '{"script": 5}', {"Content-Type": "application/json", "Prefer": "respond-async"})
    assert problem(answer) == 400


def test_the_client_may_go(patient):
    run = patient.start("import time\ndef main():\n    time.sleep(1)\n    return {'done': True}\n")
    assert patient.wait_over(run)["result"] == {"done": True}


# Cancel.


def test_delete_ends_the_run_and_everything_in_it(patient):
    run = patient.start(MANY_THREADS)
    process = process_of_many_threads(patient)
    answer = patient.delete(run)
    assert not alive(process)
    assert answer.status == 200
    record = answer.json
    assert (record["id"], record["status"], record["result"], record["stdout"]) == (run, "cancelled", None, "one\n")
    assert record["error"]["message"] == "the run was cancelled"
    assert patient.state(run) == record
    patient.assert_serves()


def test_delete_of_a_run_that_is_over_forgets_it(server):
    run = server.start(HELLO)
    server.wait_over(run)
    answer = server.delete(run)
    assert (answer.status, answer.body) == (204, b"")
    for method, path in (("GET", ""), ("DELETE", ""), ("GET", "/events"), ("HEAD", "")):
        assert server.request(method, f"/v1/runs/{run}{path}").status == 410


def test_two_may_cancel_the_same_run(patient):
    run = patient.start(FOREVER)
    wait_running(patient, run)
    with patient.wire() as one, patient.wire() as other:
        for wire in (one, other):
            wire.send(b"DELETE /v1/runs/%s HTTP/1.1\r\nHost: x\r\n\r\n" % run.encode())
        answers = [one.answer(), other.answer()]
    # Whoever comes when it is over already forgets it.
    assert sorted(answer.status for answer in answers) in ([200, 200], [200, 204])
    assert [answer.json["status"] for answer in answers if answer.status == 200][0] == "cancelled"


def test_whoever_cancels_may_go_before_the_answer(patient):
    run = patient.start(FOREVER)
    wait_running(patient, run)
    with patient.wire() as wire:
        wire.send(b"DELETE /v1/runs/%s HTTP/1.1\r\nHost: x\r\n\r\n" % run.encode())
    assert patient.wait_over(run)["status"] == "cancelled"
    patient.assert_serves()


# The queue.


def test_a_run_that_waits_can_be_seen_followed_and_cancelled(start_server, mode):
    server = start_server("--concurrency", 1, "--pool", 1, "--limits.wall_ms", "120s", user=mode == "user")
    first, second, third = (server.start(FOREVER) for _ in range(3))
    wait_running(server, first)
    assert [server.state(run)["status"] for run in (second, third)] == ["queued", "queued"]
    with server.events(second) as stream:
        record = server.delete(second).json
        assert (record["status"], record["stdout"], record["usage"]["wall_ms"]) == ("cancelled", "", 0)
        assert [(event.name, event.data) for event in stream.rest()] == [("finished", record)], "it never started"
    assert server.state(first)["status"] == "running"
    assert server.state(third)["status"] == "queued"
    server.delete(first)
    wait_running(server, third)
    record = server.delete(third).json
    assert record["status"] == "cancelled" and record["usage"]["queued_ms"] > 0


def test_a_full_queue_refuses_at_once(start_server, mode):
    server = start_server("--concurrency", 1, "--pool", 1, "--queue", 4, "--limits.wall_ms", "120s", user=mode == "user")
    first = server.start(FOREVER)
    wait_running(server, first)
    waiting = []
    while (answer := server.request("POST", "/v1/runs", HELLO, {**PYTHON, "Prefer": "respond-async"})).status == 202:
        waiting.append(answer.json["id"])
    assert problem(answer) == 429
    assert int(answer.headers["Retry-After"]) >= 1
    assert 1 <= len(waiting) <= 4, "what was promised to one client leaves room for others"
    server.delete(first)
    assert {server.wait_over(run)["status"] for run in waiting} == {"ok"}


# What is kept, and for how long.

NEVER = ("run_", "run_0", "run_" + "0" * 48, "run_" + "0" * 47, "run_" + "0" * 49, "x", "..", "%2e%2e", "run_" + "g" * 48, "x" * 2000)


@pytest.mark.parametrize("run", NEVER, ids=lambda run: run[:12] + str(len(run)))
def test_an_id_that_never_was(server, run):
    for method, path in (("GET", ""), ("DELETE", ""), ("GET", "/events")):
        assert problem(server.request(method, f"/v1/runs/{run}{path}")) == 404


def test_an_id_that_is_almost_right(server):
    run = server.start(HELLO)
    for at in (4, 20, 51):
        assert problem(server.request("GET", f"/v1/runs/{run[:at]}{'1' if run[at] == '0' else '0'}{run[at + 1 :]}")) == 404
    assert problem(server.request("GET", f"/v1/runs/{run.upper()}")) == 404


def test_a_run_that_was_answered_whole_is_not_kept(server):
    for run in (server.run(HELLO)["id"], server.run("def main(): pass")["id"]):
        assert problem(server.request("GET", f"/v1/runs/{run}")) == 410
        assert problem(server.delete(run)) == 410


def test_methods_and_bodies(server):
    run = server.start(HELLO)
    for method, path, allow in (("PUT", "", "GET, HEAD, DELETE"), ("POST", "", "GET, HEAD, DELETE"), ("DELETE", "/events", "GET, HEAD")):
        answer = server.request(method, f"/v1/runs/{run}{path}", "x")
        assert problem(answer) == 405
        assert answer.headers["Allow"] == allow
    assert problem(server.request("DELETE", f"/v1/runs/{run}", "body")) == 400
    assert problem(server.request("GET", f"/v1/runs/{run}?x=1")) == 400
    for path in ("/", "/events/", "/event", "/events/1"):
        assert problem(server.request("GET", f"/v1/runs/{run}{path}")) == 404
    assert server.wait_over(run)["status"] == "ok"


def test_records_go_after_their_time(start_server, mode):
    server = start_server("--records-seconds", 1, user=mode == "user")
    run = server.start(HELLO)
    wait_until(lambda: server.request("GET", f"/v1/runs/{run}").status == 410, "the end of its time")
    going = server.start("import time\ndef main():\n    time.sleep(3)\n    return {}\n")
    time.sleep(2)
    assert server.state(going)["status"] == "running", "a run that goes on is no record yet"


def test_the_oldest_records_go_when_there_are_too_many(start_server, mode):
    server = start_server("--records-bytes", "1MiB", user=mode == "user")
    script = "def main(n):\n    print('x' * n)\n    return {}\n"
    small = server.start(HELLO)
    server.wait_over(small)
    runs = []
    for _ in range(3):
        runs.append(server.start(script, input=300_000))
        assert server.wait_over(runs[-1])["status"] == "ok"
    answers = [server.request("GET", f"/v1/runs/{run}").status for run in (small, *runs)]
    assert answers == [410, 410, 410, 200]
    large = server.start(script, input=1_000_000)
    assert len(server.wait_over(large)["stdout"]) == 1_000_001, "what has just ended stays, whatever its size"
    assert server.request("GET", f"/v1/runs/{runs[-1]}").status == 410


def test_a_reader_of_a_record_that_goes_is_cut_off(start_server, mode):
    """It must not hold the memory for as long as it likes, and must not take the part that it has for the whole."""
    server = start_server("--records-bytes", "1MiB", "--limits.output_bytes", "4MiB", user=mode == "user")
    script = "def main():\n    print('\\x01' * (4 << 20), end='')\n    return {}\n"
    run = server.start(script)
    server.wait_over(run)
    with server.wire() as record, server.events(run) as stream:
        record.send(b"GET /v1/runs/%s HTTP/1.1\r\nHost: x\r\n\r\n" % run.encode())
        head = record.stream.readline()
        assert b"200" in head
        server.wait_over(server.start(script))
        assert server.request("GET", f"/v1/runs/{run}").status == 410
        assert record.closed() and len(record.rest) < 24 * MIB
        with pytest.raises((ConnectionError, AssertionError)):
            stream.until("finished")
    server.assert_serves()


def test_records_go_with_the_front_that_kept_them(start_server, mode):
    """Nobody can answer for a run of a front that died: it is ended, and its id means nothing to the next one."""
    server = start_server("--limits.wall_ms", "120s", user=mode == "user")
    run = server.start(MANY_THREADS)
    process = process_of_many_threads(server)
    front = server.front()
    os.kill(front.pid, signal.SIGKILL)
    wait_until(lambda: not alive(process), "the end of its run")
    wait_until(lambda: (now := server.front()) and now.pid != front.pid, "another front")
    server.wait_ready()
    assert server.request("GET", f"/v1/runs/{run}").status == 404
    server.assert_serves()
