"""Every limit: enforced, named, lowered by a request, set by the operator."""
import pytest

from harness import HELLO, KIB, LONG, MIB, PATIENCE, background, spin, wait_until

THREADS = """
import threading, time
def main():
    started = 0
    try:
        for _ in range(400):
            threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
            started += 1
    except RuntimeError:
        pass
    return {"started": started}
"""
# Where the supervisor looks, now and then, it must be there still.
THREADS_THAT_STAY = THREADS.replace("    return", f"    time.sleep({PATIENCE})\n    return")
FORKS = """
import os, time
def main():
    started = 0
    try:
        for _ in range(400):
            if os.fork() == 0:
                time.sleep(60)
                os._exit(0)
            started += 1
    except OSError as error:
        return {"started": started, "errno": error.errno}
    return {"started": started, "errno": 0}
"""
FILL = """
def main():
    written = 0
    try:
        with open("big", "wb", buffering=0) as file:
            for _ in range(4096):
                written += file.write(bytes(65536))
    except OSError as error:
        return {"written": written, "errno": error.errno}
    return {"written": written, "errno": 0}
"""
FILES = """
def main():
    made = 0
    try:
        for number in range(20000):
            open(str(number), "w").close()
            made += 1
    except OSError as error:
        return {"made": made, "errno": error.errno}
    return {"made": made, "errno": 0}
"""
DESCRIPTORS = """
import os
def main():
    kept = []
    try:
        for _ in range(5000):
            kept.append(os.dup(1))
    except OSError as error:
        return {"highest": kept[-1], "errno": error.errno}
    return {"highest": kept[-1], "errno": 0}
"""
EAGAIN, EPERM, ENOMEM, EMFILE, EFBIG, ENOSPC, ENOSYS = 11, 1, 12, 24, 27, 28, 38


@pytest.mark.parametrize("limit", (64, 8, 1))
def test_threads(server, limit):
    if server.counts_threads:
        assert server.result(THREADS, limits={"processes": limit})["started"] == limit - 1
    else:
        assert server.execute(THREADS_THAT_STAY, limits={"processes": limit}).error == f"process limit exceeded: {limit}"


@pytest.mark.parametrize("limit", (64, 8))
def test_processes(server, limit):
    result = server.result(FORKS, limits={"processes": limit})
    if server.can_fork:
        assert (result["started"], result["errno"]) == (limit - 1, EAGAIN)
    else:
        assert result["started"] == 0 and result["errno"] in (EPERM, EAGAIN, ENOSYS)


def test_processes_by_default(server):
    if server.counts_threads:
        assert server.result(THREADS)["started"] == 63
    else:
        assert server.execute(THREADS_THAT_STAY).error == "process limit exceeded: 64"


@pytest.mark.parametrize("limit", (64, 8, 1))
def test_disk(server, limit):
    result = server.result(FILL, limits={"disk_bytes": limit * MIB})
    assert result["errno"] in (ENOSPC, EFBIG)
    assert limit * MIB * 3 // 4 <= result["written"] <= limit * MIB


def test_disk_is_counted_over_all_writable_places(server):
    script = """
        import os, tempfile
        def main():
            written, numbers = 0, []
            for place in (".", tempfile.gettempdir(), "../shm"):
                try:
                    with open(place + "/big", "wb", buffering=0) as file:
                        while written < 1 << 30:
                            written += file.write(bytes(65536))
                except OSError as error:
                    numbers.append(error.errno)
            return {"written": written, "errors": len(numbers)}
    """
    if not server.has_tmpfs:  # a look at the directory, now and then: it stays until that comes
        stays = script.replace("return", f"__import__('time').sleep({PATIENCE}); return")
        assert server.execute(stays, limits={"disk_bytes": 16 * MIB}).error == "disk limit exceeded: 16 MiB"
        return
    result = server.result(script, limits={"disk_bytes": 16 * MIB})
    assert result["written"] <= 16 * MIB
    assert result["errors"] == 3


def test_a_sparse_petabyte(server):
    script = "import os\ndef main():\n    fd = os.open('s', os.O_CREAT | os.O_RDWR)\n    try:\n        os.ftruncate(fd, 1 << 50)\n    except OSError as e:\n        return {'errno': e.errno}\n    return {'errno': 0}\n"
    assert server.result(script)["errno"] in (EFBIG, ENOSPC)


def test_inodes(server):
    if not server.has_tmpfs:
        assert server.run(FILES)["status"] == "disk_limit"
        return
    result = server.result(FILES)
    assert result["errno"] == ENOSPC
    assert 4000 <= result["made"] <= 4096


def test_inodes_uncaught_are_the_disk_limit(server):
    record = server.run("def main():\n    for n in range(20000):\n        open(str(n), 'w').close()\n    return {}\n")
    assert record["status"] == "disk_limit"


def test_open_files(server):
    result = server.result(DESCRIPTORS)
    assert (result["errno"], result["highest"]) == (EMFILE, 255)


@pytest.mark.parametrize("limits", ({}, {"memory_bytes": 128 * MIB}), ids=("default", "lowered"))
def test_memory(server, limits):
    limit = limits.get("memory_bytes", 256 * MIB)
    fits, bursts = limit // 4, limit + 64 * MIB
    script = "def main():\n    return {{'n': len(b'x' * {})}}\n"
    assert server.result(script.format(fits), limits=limits) == {"n": fits}
    record = server.run(script.format(bursts), limits=limits)
    assert (record["status"], record["error"]["message"]) == ("memory_limit", f"memory limit exceeded: {limit // MIB} MiB")


MEMORY = {
    "many small objects": "    kept = []\n    while True:\n        kept.append([None] * 1000)\n",
    "mmap": "    import mmap\n    kept = [mmap.mmap(-1, 32 << 20) for _ in range(32)]\n    for m in kept:\n        m.write(b'x' * (32 << 20))\n",
    "one string that grows": "    s = 'x'\n    while True:\n        s += s\n",
    "recursion in the heap": "    v = ()\n    while True:\n        v = (v, bytes(10000))\n",
}


@pytest.mark.parametrize("body", MEMORY.values(), ids=MEMORY)
def test_ways_to_use_memory(server, body):
    record = server.run(f"def main():\n{body}    return {{}}\n", limits={"memory_bytes": 64 * MIB})
    assert record["status"] == "memory_limit" or (record["status"], "cgroup" in server.layers) == ("script_error", False), record["error"]


def test_memory_of_many_children_together(server):
    if not server.can_fork:
        pytest.skip("no fork in this jail")
    record = server.run(
        """
        import os, time
        def main():
            for _ in range(16):
                if os.fork() == 0:
                    kept = b"x" * (64 << 20)
                    time.sleep(60)
                    os._exit(0)
            while True:
                os.wait()
        """
    )
    assert record["status"] in ("memory_limit", "script_error"), record["error"]
    if record["usage"]["memory_peak_bytes"]:
        assert record["usage"]["memory_peak_bytes"] <= 256 * MIB


def test_files_count_as_memory_where_a_cgroup_holds(server):
    if "cgroup" not in server.layers:
        pytest.skip("no cgroup here")
    record = server.run(
        "def main():\n    open('/tmp/f', 'wb').write(bytes(60 << 20))\n    return {'n': len(b'x' * (40 << 20))}\n",
        limits={"memory_bytes": 80 * MIB},
    )
    assert record["status"] == "memory_limit", record["error"]


CPU = {
    "loop": "    while True: pass\n",
    "C code that never returns": "    return {'n': len(str(pow(3, 10**9)))}\n",
    "regular expression": "    import re\n    re.match('(a+)+b', 'a' * 40)\n    return {}\n",
    "signals blocked": "    import signal\n    signal.pthread_sigmask(signal.SIG_SETMASK, signal.valid_signals())\n    while True: pass\n",
    "SIGXCPU ignored": "    import signal\n    signal.signal(signal.SIGXCPU, signal.SIG_IGN)\n    while True: pass\n",
    "threads": "    import threading\n    for _ in range(4):\n        threading.Thread(target=lambda: [0 for _ in iter(int, 1)]).start()\n    while True: pass\n",
}


@pytest.mark.parametrize("body", CPU.values(), ids=CPU)
def test_cpu(server, body):
    record = server.run(f"def main():\n{body}", limits={"cpu_ms": 1000})
    assert record["status"] in ("cpu_limit", "memory_limit"), record["error"]
    if record["status"] == "cpu_limit":
        assert record["error"]["message"] == "CPU time limit exceeded: 1 s"
        assert record["usage"]["cpu_ms"] >= 900


def test_cpu_of_children_counts(server):
    if not server.can_fork:
        pytest.skip("no fork in this jail")
    script = "import os\ndef main():\n    while True:\n        if os.fork() == 0:\n            for _ in range(10**6): pass\n            os._exit(0)\n        os.wait()\n"
    assert server.run(script, limits={"cpu_ms": 1000})["status"] == "cpu_limit"


WALL = {
    "sleep": "import time\ndef main():\n    time.sleep(60)\n",
    "at the top": "import time\ntime.sleep(60)\ndef main():\n    return {}\n",
    "stops itself": "import os, signal, time\ndef main():\n    try:\n        os.kill(os.getpid(), signal.SIGSTOP)\n    except OSError:\n        pass\n    time.sleep(60)\n",
    "ignores every signal": "import signal, time\ndef main():\n    for s in signal.valid_signals():\n        try:\n            signal.signal(s, signal.SIG_IGN)\n        except (OSError, ValueError):\n            pass\n    time.sleep(60)\n",
    "reads for ever": "import os\ndef main():\n    r, w = os.pipe()\n    os.read(r, 1)\n",
    "__del__ for ever": "import time\nclass D:\n    def __del__(self):\n        time.sleep(60)\nd = D()\ndef main():\n    global d\n    del d\n    return {}\n",
    "a byte now and then": "import time\ndef main():\n    while True:\n        print('.', flush=True)\n        time.sleep(0.05)\n",
    "a thread that stays": "import threading, time\ndef main():\n    threading.Thread(target=time.sleep, args=(60,)).start()\n    threading.Event().wait()\n",
    "async": "import asyncio\nasync def main():\n    await asyncio.sleep(60)\n",
}


@pytest.mark.parametrize("script", WALL.values(), ids=WALL)
def test_wall(server, script):
    record = server.run(script, limits={"wall_ms": 1000})
    assert (record["status"], record["error"]["message"]) == ("time_limit", "time limit exceeded: 1 s"), record["error"]
    assert 900 <= record["usage"]["wall_ms"] < 30_000


def test_a_thread_does_not_hold_up_the_answer(server):
    """main() has returned: whether a thread is waited for or not, the limit bounds it."""
    script = "import threading, time\ndef main():\n    threading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n    return {'n': 1}\n"
    record = server.run(script)
    assert (record["status"], record["result"]) == ("ok", {"n": 1}), record["error"]


@pytest.mark.parametrize("stream", ("stdout", "stderr"))
def test_output(server, stream):
    flood = "import sys\ndef main():\n    while True:\n        sys.{}.write('x' * 1000)\n"
    record = server.run(flood.format(stream), limits={"output_bytes": 16 * KIB})
    assert (record["status"], record["error"]["message"]) == ("output_limit", "output limit exceeded: 16 KiB")
    assert record[stream] == "x" * 16 * KIB
    assert record[f"{stream}_truncated"] is True


def test_output_below_eight_times_the_limit_is_only_cut(server):
    record = server.run("def main():\n    print('x' * (60 << 10))\n    return {}\n", limits={"output_bytes": 8 * KIB})
    assert (record["status"], len(record["stdout"]), record["stdout_truncated"]) == ("ok", 8 * KIB, True)


# What the operator sets.

OPERATOR = {
    "wall_ms": ("1000", "import time\ndef main():\n    time.sleep(60)\n", "time limit exceeded: 1 s"),
    "cpu_ms": ("1000", "def main():\n    while True: pass\n", "CPU time limit exceeded: 1 s"),
    "memory_bytes": (str(64 * MIB), "def main():\n    return {'n': len(b'x' * (100 << 20))}\n", "memory limit exceeded: 64 MiB"),
    "processes": ("4", THREADS_THAT_STAY.replace("except RuntimeError", "except KeyError"), "process limit exceeded: 4"),
    "output_bytes": ("1024", "def main():\n    while True: print('x' * 100)\n", "output limit exceeded: 1 KiB"),
    "disk_bytes": (str(4 * MIB), FILL.replace("except OSError as error", "except KeyError as error"), "disk limit exceeded: 4 MiB"),
    "result_bytes": (str(64 * KIB), "def main():\n    return {'v': 'x' * 70000}\n", "result limit exceeded: 64 KiB"),
}


@pytest.mark.parametrize("name, value, script, error", [(name, *row) for name, row in OPERATOR.items()], ids=OPERATOR)
def test_the_operators_limit(start_server, mode, name, value, script, error):
    server = start_server(f"--limits.{name}", value, user=mode == "user")
    assert server.execute(script).error == error
    if name not in ("result_bytes",):
        refused = server.execute(HELLO, limits={name: int(value) + 1})
        assert refused.status == 400 and name in refused.error


def test_the_operators_limits_without_a_message(start_server, mode):
    server = start_server("--limits.inodes", "200", "--limits.open_files", "40", "--limits.request_bytes", "4096", user=mode == "user")
    if server.has_tmpfs:
        assert server.result(FILES)["made"] <= 200
    else:
        assert server.run(FILES)["status"] == "disk_limit"
    assert server.result(DESCRIPTORS)["highest"] == 39
    answer = server.execute(HELLO + "#" * 5000)
    assert answer.status == 413 and "4 KiB" in answer.error


def test_an_operator_may_allow_more(start_server, mode):
    server = start_server("--limits.wall_ms", "60000", "--limits.output_bytes", str(4 * MIB), user=mode == "user")
    assert len(server.execute("def main():\n    print('x' * (3 << 20))\n    return {}\n").json["stdout"]) == 3 * MIB
    assert server.result(HELLO, limits={"wall_ms": 60000}) == {"message": "hello"}


@pytest.fixture
def full_server(start_server):
    """A server whose one place is taken until the test says so: (server, free)."""
    server = start_server("--concurrency", "1", "--queue", "1", *LONG)
    with server.occupied() as free:
        yield server, free


def test_a_full_queue_is_429_with_retry_after(full_server):
    server, free = full_server
    others = [background(server.execute, HELLO) for _ in range(4)]
    wait_until(lambda: sum(other.done() for other in others) == 3, "three answers")
    refused = [other.result() for other in others if other.done()]
    assert [answer.status for answer in refused] == [429] * 3
    for answer in refused:
        assert int(answer.headers["Retry-After"]) >= 1
        assert answer.error
    free()
    assert sorted(other.result(60).status for other in others) == [200, 429, 429, 429]
    server.assert_serves()


def test_a_full_queue_is_a_problem_on_the_whole_face(full_server):
    server, _ = full_server
    others = [background(server.post_run, HELLO) for _ in range(2)]
    wait_until(lambda: any(other.done() for other in others), "an answer")
    (answer,) = [other.result() for other in others if other.done()]
    assert answer.status == 429
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json["status"] == 429
    assert int(answer.headers["Retry-After"]) >= 1
