"""SIGKILL for each process of a server under load: nobody gets a wrong answer, nobody waits for ever, nothing is left behind.

SAFE_SCRIPT_SOAK_SECONDS makes the soak at the end as long as one likes."""
import os
import random
import signal
import time

import pytest

import load
import victims
from certificates import Certificate
from harness import IS_ROOT, MODES, NOBODY, PATIENCE, STOPPING, Traces, alive, cgroup_directories, wait_until

SOAK_SECONDS = float(os.environ.get("SAFE_SCRIPT_SOAK_SECONDS", "20"))


def user(mode):
    return {"user": mode == "user"}


def certificate(directory, mode):
    return Certificate(directory, mode, owner=int(NOBODY) if IS_ROOT and mode == "user" else None)


@pytest.mark.parametrize("name", ("run", "zygote", "front", "relay", "tls"))
def test_kill_under_load(start_server, public_dir, mode, name):
    flags, options = (), user(mode)
    if name == "tls":
        made = certificate(public_dir, mode)
        flags, options["tls"] = made.flags, made.client
    server, dice = start_server(*flags, **options), random.Random(name)
    with load.on(server, may=victims.MAY[name]) as clients:
        for _ in range(8 if name == "run" else 3):
            killed = wait_until(lambda: victims.kill(server, name, dice), f"a {name} to kill")
            clients.go_on(10)
            victims.wait_other(server, name, killed)
    server.assert_serves()
    assert server.is_ready()


def test_without_its_starter_it_answers_what_it_has_and_ends(start_server, mode):
    """Only a new server has the privileges that a starter takes."""
    server = start_server(**user(mode))
    tree = server.children()
    with load.on(server, may={"refused", "closed", "gone"}) as clients:
        tree += server.children()
        victims.kill(server, "starter", random)
        assert server.wait_exit(PATIENCE) == 1
        assert clients.counts["right"] > 20
    server.traces.assert_clean(server.pid, [])
    assert not [each for each in tree if alive(each)]


def test_without_its_supervisor_nothing_lives_on(start_server, mode):
    server = start_server(**user(mode))
    with load.on(server, may={"closed", "gone"}):
        tree = server.children()
        server.process.kill()
        server.wait_exit()
        wait_until(lambda: not [each for each in tree if alive(each)], "the end of every process of a killed server")
        wait_until(lambda: not Traces.orphans(), "no orphans")
    if cgroup_directories(server.pid):  # nobody was left to remove them
        start_server(**user(mode)).assert_serves()
        wait_until(lambda: not cgroup_directories(server.pid), "no cgroups of a dead server", STOPPING)
    server.traces.assert_clean(server.pid, [])


FEW = ("--concurrency", "6", "--pool", "3")
DESCRIPTORS = 600  # of the supervisor with so few jails, all of which have been used; a run has some 10, and there are thousands


def descriptors(process):
    return len(os.listdir(f"/proc/{process.pid}/fd"))


def test_soak(start_server, public_dir):
    """All at once, at random, one server for each way to run; then each is as it was."""
    dice, servers = random.Random(5), []
    for mode in MODES:
        made = certificate(public_dir, mode)
        servers.append(start_server(*made.flags, *FEW, "--recycle-runs", "300", tls=made.client, **user(mode)))
    may = set.union(*victims.MAY.values())
    with load.on(servers[0], may=may) as first, load.on(servers[-1], may=may, seed=2) as last:
        end = time.monotonic() + SOAK_SECONDS
        while time.monotonic() < end:
            name = dice.choice(("run", "run", "run", "run", "zygote", "front", "relay", "tls"))
            victims.kill(dice.choice(servers), name, dice)
            time.sleep(dice.uniform(0, 0.5))
        first.go_on()
        last.go_on()
    for server in servers:
        server.wait_ready()
        server.assert_serves()
        if server.mode == MODES[0]:  # of another uid nobody without CAP_SYS_PTRACE can tell
            wait_until(lambda: descriptors(server.process) < DESCRIPTORS, "no more descriptors than jails take")
    print({mode: dict(each.counts) for mode, each in zip(MODES, (first, last))})
