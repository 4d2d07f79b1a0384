"""A server that wants for something: descriptors, cgroups, disk, memory, a steady clock. What cannot be done is refused, what is answered is
true, and when the want has passed all is as before."""
import json
import os
import random
import subprocess
import time

import pytest

import load
import victims
from faults import MemoryRoom, SmallDisk, Switches, few_descriptors
from harness import HELLO, IS_ROOT, MIB, PATIENCE, alive, environment, wait_until


def user(mode):
    return {"user": mode == "user"}


YEARS = 365 * 86400


def test_the_machines_clock_jumps(start_server, mode):
    switches = Switches()
    server = start_server(env=switches.environment, **user(mode))
    with load.on(server, may=victims.MAY["run"]) as clients:
        for jump in (86400, -20 * YEARS, 20 * YEARS, -40, 0):
            switches["clock_s"] = jump
            lines, year = len(server.log_lines()), time.gmtime(time.time() + jump).tm_year
            # The supervisor says in its log that a jail has ended.
            wait_until(lambda: victims.kill(server, "run", random) and any(json.loads(line)["time"].startswith(str(year)) for line in server.log_lines()[lines:] if '"supervisor"' in line), "a line of that year")
            clients.go_on()
    assert server.is_ready()


@pytest.mark.skipif(not IS_ROOT, reason="a time namespace is made by root")
@pytest.mark.parametrize("offset", (-1, 4 * YEARS))
def test_a_machine_that_has_just_started_or_been_up_for_years(start_server, offset):
    """The clock that everything is timed by begins anywhere."""
    up = int(time.clock_gettime(time.CLOCK_BOOTTIME))
    offset = 1 - min(up, int(time.monotonic())) if offset < 0 else offset
    server = start_server(wrap=("unshare", "--time", "--monotonic", str(offset), "--boottime", str(offset), "--"))
    with load.on(server) as clients:
        clients.go_on(100)


@pytest.mark.skipif(not IS_ROOT, reason="an ordinary user has no cgroups here")
def test_cgroups_that_turn_read_only(start_server):
    switches = Switches()
    server = start_server(env=switches.environment)
    if "cgroup" not in server.layers:
        pytest.skip("no cgroups here")
    with load.on(server, may={"refused", "lost"}) as clients:
        switches["cgroups"] = 1
        wait_until(lambda: clients.counts["refused"] > 10, "requests that are refused")
        assert switches["refusals"] > 0
        assert server.request("GET", "/healthz").status == 200
        switches["cgroups"] = 0
        assert any("Read-only file system" in line for line in server.log_lines()), server.log_lines()[-20:]
        clients.go_on()
    server.wait_ready()
    server.assert_serves()


@pytest.mark.parametrize("name", ("supervisor", "front", "zygote", "starter"))
@pytest.mark.parametrize("more", (0, 3, 12))
def test_out_of_descriptors(start_server, mode, name, more):
    server = start_server(**user(mode))
    server.assert_serves()
    # Its answers' descriptors count together with all that its user has on the way, so a zygote may still be given up.
    others = [each for each in ("front", "zygote") if each != name or name == "front"]
    before = {each: [process.pid for process in victims.FIND[each](server)] for each in others}
    pid = server.pid if name == "supervisor" else victims.FIND[name](server)[0].pid
    with load.on(server, may={"refused", "lost", "closed"}) as clients:
        with few_descriptors(pid, more):
            answers = sum(clients.counts.values())
            wait_until(lambda: sum(clients.counts.values()) > answers + 30, "answers of any kind")
        clients.go_on()
    server.wait_ready()
    server.assert_serves()
    assert before == {each: [process.pid for process in victims.FIND[each](server)] for each in others}


@pytest.fixture
def room():
    if not MemoryRoom.there():
        pytest.skip("no memory cgroups of version 1 that we may make")
    made = MemoryRoom("room")
    yield made
    made.close()


def test_no_memory_for_a_new_zygote(room, start_server):
    """The old one goes on where it is only to be recycled; where it is gone, what cannot run is refused. A script that the kernel kills for
    want of the whole server's memory has not met its own limit."""
    server = start_server("--recycle-runs", "50", "--pool", "2", wrap=room.wrap)
    server.assert_serves()
    with load.on(server, clients=3, may={"refused", "lost", "closed", "gone"}) as clients:
        room.limit(6 * MIB)
        answers = sum(clients.counts.values())
        wait_until(lambda: sum(clients.counts.values()) > answers + 60, "answers of any kind")
        killed = victims.kill(server, "zygote", random)
        wait_until(lambda: not killed or not alive(killed), "its end")
        answers = sum(clients.counts.values())
        wait_until(lambda: sum(clients.counts.values()) > answers + 10, "answers of any kind")
        room.limit(None)
        clients.go_on()
    server.wait_ready()
    server.assert_serves()
    server.stop()


# A full disk.

WRITES = "def main():\n    open('out', 'w').write('x' * 100_000)\n    return {}\n"


def test_a_full_disk_is_not_the_script_s_fault(start_server, builds, public_dir):
    """Where no file system can be made for each run they share one, and each has its part of that: unless others have filled it."""
    disk = SmallDisk(public_dir, "size=48m,mode=777")
    server = start_server("--box-directory", public_dir, "--walls", "1", "--concurrency", "2", "--pool", "1", wrap=disk.wrap, build=builds["user"])
    assert not server.has_tmpfs
    greedy = "def main():\n    open('out', 'wb').write(bytes(30 << 20))\n    return {}\n"
    assert server.run(greedy)["error"]["message"] == "disk limit exceeded: 24 MiB"
    with load.on(server, may={"refused", "lost"}) as clients:
        clients.go_on()
        disk.fill(server)
        record = server.run(WRITES)
        assert (record["status"], record["error"]["message"]) == ("lost", load.LOST)
        record = server.run(HELLO, files={"in": "x" * 100_000})
        assert (record["status"], record["error"]["message"]) == ("lost", load.LOST)
        assert server.execute(WRITES).status == 500
        assert server.run(HELLO)["status"] == "ok", "who needs no room is served"
        assert any("the runs' directory is full of others' files" in line for line in server.log_lines())
        clients.go_on()
        disk.clear(server)
        clients.go_on()
    assert server.run(WRITES)["status"] == "ok"
    assert server.run(greedy)["error"]["message"] == "disk limit exceeded: 24 MiB"


def test_a_run_that_takes_all_inodes(start_server, builds, public_dir):
    """It has its part of those, too."""
    disk = SmallDisk(public_dir, "size=48m,mode=777,nr_inodes=600")
    server = start_server("--box-directory", public_dir, "--walls", "1", "--concurrency", "2", "--pool", "1", wrap=disk.wrap, build=builds["user"])
    more = "def main():\n    for n in range(1000): open(str(n), 'w').close()\n    return {}\n"
    assert server.run(more)["status"] == "disk_limit"
    server.assert_serves()


# On a host all that a server writes is its log; the command line writes the keys.

FULL = """
set -e
mount -t tmpfs -o size=16k,mode=755 none "$1"
"$2" key new first --keys-file "$1/keys" >/dev/null
cp "$1/keys" "$3"
dd if=/dev/zero of="$1/rest" bs=1k 2>/dev/null || true
for i in 1 2 3; do
    "$2" key new "more-$i" --keys-file "$1/keys" >/dev/null && exit 7
    cmp "$1/keys" "$3"
done
"$2" key list --keys-file "$1/keys"
rm "$1/rest"
"$2" key new second --keys-file "$1/keys" >/dev/null
"$2" key list --keys-file "$1/keys"
ls "$1"
"""


@pytest.mark.skipif(not IS_ROOT, reason="a small file system is mounted by root")
def test_a_full_disk_costs_no_key(builds, tmp_path):
    """In a mount namespace of its own."""
    place = tmp_path / "full"
    place.mkdir()
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", FULL, "sh", place, builds["root"] / "safe-script", tmp_path / "copy"],
        env=environment(), capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert done.returncode == 0, (done.returncode, done.stdout, done.stderr)
    assert done.stderr.count("No space left on device") == 3, done.stderr
    assert "first" in done.stdout and "second" in done.stdout and "more" not in done.stdout
    assert done.stdout.split()[-1] == "keys", "nothing half-written is left"
