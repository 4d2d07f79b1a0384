"""Many clients, odd clients, a slow front: nobody else's run fails, waits for ever or gets another's answer."""
import json
import os
import signal
import subprocess
import threading
import time

import pytest

import harness
from harness import HELLO, background, wait_until

SLEEP = "import time\ndef main(s):\n    time.sleep(s)\n    return {'slept': s}\n"


def user(mode):
    return {"user": mode == "user"}


def post(script, **options):
    body = json.dumps({"script": script, **options}).encode()
    head = b"POST /v1/runs HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    return head % len(body) + body


def test_a_flood_of_disconnects_ends_only_its_own_runs(start_server, mode):
    server = start_server(**user(mode))
    front = server.front().pid
    neighbours = [background(server.execute, SLEEP, input=3) for _ in range(3)]
    server.wait_ready()
    wires = []
    for _ in range(400):
        wires.append(server.wire())
        wires[-1].send(post(SLEEP, input=3))
    for wire in wires:
        wire.close()
    assert [each.result(60).status for each in neighbours] == [200, 200, 200]
    server.assert_serves()
    assert server.front().pid == front


def test_a_front_that_pauses_is_not_dead(start_server, mode):
    server = start_server("--concurrency", "32", **user(mode))
    front = server.front().pid
    flying = [background(server.execute, SLEEP, input=0.05) for _ in range(400)]
    server.wait_ready()
    os.kill(front, signal.SIGSTOP)
    time.sleep(3)  # the pause itself
    os.kill(front, signal.SIGCONT)
    assert {each.result(120).status for each in flying} == {200}
    assert server.front().pid == front


def test_new_clients_after_a_front_s_death_get_their_own_answers(start_server, mode):
    server = start_server(**user(mode))
    old = [background(server.execute, "def main():\n    kept = bytearray(b'x') * (100 << 20)\n    while True: pass\n") for _ in range(4)]
    server.wait_busy()
    front = server.front()
    os.kill(front.pid, signal.SIGKILL)
    wait_until(lambda: (now := server.front()) and now.pid != front.pid, "another front")
    server.wait_ready()
    answers = [background(server.execute, f"def main():\n    return {{'n': {n}}}\n") for n in range(8)]
    assert [each.result(60).json for each in answers] == [{"result": {"n": n}, "stdout": ""} for n in range(8)]
    for each in old:
        with pytest.raises(Exception):
            each.result(60)


def test_odd_disk_sizes_take_nobody_s_place(start_server, mode):
    server = start_server(**user(mode))
    stop = threading.Event()

    def odd():
        number = 0
        while not stop.is_set():
            number += 1
            with server.wire() as wire:
                wire.send(post(SLEEP, input=3, limits={"disk_bytes": 65536 + 4096 * (number % 1000)}))
                stop.wait(0.004)

    threads = [threading.Thread(target=odd) for _ in range(8)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(20):
            assert server.execute(HELLO).status == 200
        answered_under_attack = all(thread.is_alive() for thread in threads)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert answered_under_attack
    server.assert_serves()


def test_descriptors_in_flight_keep_no_jail_from_being_made(start_server, mode):
    server = start_server(**user(mode))
    hold = (
        "import array, socket, time\n"
        "def main():\n"
        "    a, b = socket.socketpair()\n"
        "    try:\n"
        "        for _ in range(20): a.sendmsg([b'x'], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', [0] * 250))])\n"
        "    except OSError: pass\n"
        "    time.sleep(4)\n"
        "    return {}\n"
    )
    holders = [background(server.execute, hold) for _ in range(3)]
    server.wait_ready()
    for _ in range(30):
        server.assert_serves()
    assert [each.result(60).status for each in holders] == [200] * 3


def test_a_script_s_own_cpu_limit_is_never_the_server_s_fault(server):
    record = server.run(
        "import resource\ndef main():\n    print('once', flush=True)\n"
        "    resource.setrlimit(resource.RLIMIT_CPU, (1, 1))\n    while True: pass\n"
    )
    assert record["status"] in ("killed", "cpu_limit")
    assert record["stdout"] == "once\n"


def test_the_uid_stays_the_same_however_often_it_is_asked(server):
    script = "import os\ndef main():\n    return {'uids': len({os.getuid() for _ in range(3000)}), 'uid': os.getuid(), 'mask': os.umask(0)}\n"
    assert server.result(script) == {"uids": 1, "uid": 1000, "mask": 0o22}


RAISES = """
import signal, time
def main():
    signal.signal(40, lambda *_: None)
    for _ in range(30):
        signal.pthread_sigmask(signal.SIG_BLOCK, [40])
        signal.raise_signal(40)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [40])
        end = time.monotonic() + 0.1
        while time.monotonic() < end:
            pass
    return {"raised": 30}
"""

QUEUES = """
import os, signal, time
def main():
    signal.pthread_sigmask(signal.SIG_BLOCK, [40])
    for _ in range(64):
        os.kill(os.getpid(), 40)
    time.sleep(1)
    return {"queued": 64}
"""


def test_signals_that_a_run_has_queued_are_missing_to_no_other(start_server, mode):
    server = start_server(**user(mode))
    raising = background(server.run, RAISES)
    server.wait_busy()
    assert server.run(QUEUES)["result"] == {"queued": 64}
    assert raising.result(60)["result"] == {"raised": 30}


def test_a_signal_to_no_thread_is_an_error(server):
    script = (
        "import ctypes, os\n"
        "def main():\n"
        "    libc = ctypes.CDLL(None, use_errno=True)\n"
        "    return {'r': libc.syscall(234, os.getpid(), 99, 9), 'errno': ctypes.get_errno()}\n"
    )
    assert server.result(script) == {"r": -1, "errno": 3}


def test_few_open_files_are_said_at_the_start(builds):
    build = builds["root"] if "root" in builds else next(iter(builds.values()))
    done = subprocess.run(
        ["bash", "-c", f"ulimit -n 64; exec {build}/safe-script serve --listen 127.0.0.1:{harness.free_port()}"],
        stdin=subprocess.DEVNULL, capture_output=True, timeout=60, env=harness.environment(),
    )
    assert done.returncode == 1
    assert b"open files" in done.stderr and b"ulimit -n" in done.stderr


def test_an_interpreter_that_does_not_start_in_the_jail_ends_the_command(builds, tmp_path):
    build = builds["root"] if "root" in builds else next(iter(builds.values()))
    wrapper = tmp_path / "python3"
    wrapper.write_text("#!/bin/sh\nexec /usr/bin/python3 \"$@\"\n")
    wrapper.chmod(0o755)
    for folder in (tmp_path, *list(tmp_path.parents)[:2]):
        folder.chmod(0o755)
    script = tmp_path / "script.py"
    script.write_text(HELLO)
    done = subprocess.run(
        [f"{build}/safe-script", "run", str(script), "--python", str(wrapper)],
        stdin=subprocess.DEVNULL, capture_output=True, timeout=120, env=harness.environment(),
    )
    assert done.returncode == 1
    assert done.stderr


def test_closed_standard_streams(builds, tmp_path):
    build = builds["root"] if "root" in builds else next(iter(builds.values()))
    script = tmp_path / "script.py"
    script.write_text(HELLO)
    command = f"exec {build}/safe-script run {script} <&-"
    done = subprocess.run(["bash", "-c", command], capture_output=True, timeout=60, env=harness.environment())
    assert (done.returncode, done.stdout) == (0, b'{"message":"hello"}\n')
    assert subprocess.run(["bash", "-c", command + " >&-"], stderr=subprocess.PIPE, timeout=60, env=harness.environment()).returncode in (0, 1)
