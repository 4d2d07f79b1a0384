"""What the server says of the place it runs in is what the README says of it: which layers hold, which do not and what would bring them.

tests/env makes the places and names them in SAFE_SCRIPT_PLACE; elsewhere the place is a host."""
import json
import os
import pathlib
import re
import subprocess

import pytest

import harness
from harness import PATIENCE, REPOSITORY, environment, is_python, wait_until

LAYERS = {"cgroup", "namespaces", "root", "identity", "rlimits", "landlock", "seccomp", "supervisor"}
HOST = {"root": "root on a host", "user": "an ordinary user"}


def rows():
    """place → its row of the README's table, the rest of the cells."""
    text = (REPOSITORY / "README.md").read_text()
    table = text[text.index("| where | missing |") :].split("\n\n")[0]
    cells = [[cell.strip() for cell in line.strip()[1:-1].split("|")] for line in table.splitlines()[2:]]
    return {row[0].replace("`", ""): row[1:] for row in cells}


ROWS = rows()


@pytest.fixture
def row(mode):
    missing, uid, processes, brings = ROWS[os.environ.get("SAFE_SCRIPT_PLACE", HOST[mode])]
    return {"missing": set() if missing == "–" else set(missing.split(", ")), "uid": uid, "processes": processes, "brings": brings}


def without_pids(text):
    return re.sub(r"safe-script-\d+", "safe-script-PID", text)


@pytest.fixture
def doctor(cli, mode):
    return json.loads(without_pids(cli("doctor", "--json", mode=mode).stdout.decode()))


def test_exactly_these_layers_hold(doctor, row):
    assert {layer["name"] for layer in doctor["layers"]} == LAYERS
    assert {layer["name"] for layer in doctor["layers"] if not layer["holds"]} == row["missing"]


def test_what_is_missing_has_a_reason_and_a_remedy(doctor, row, cli, mode):
    for layer in doctor["layers"]:
        assert layer["holds"] or (layer["reason"] and layer["hint"] and layer["takes_over"]), layer
    hints = " ".join(layer["hint"] for layer in doctor["layers"] if not layer["holds"])
    assert [words for words in re.findall("`([^`]*)`", row["brings"]) if words not in hints and words != "--walls 1"] == []
    said = without_pids(cli("doctor", mode=mode).stdout.decode()).splitlines()
    for layer in doctor["layers"]:
        line = f"  {layer['name']:11} {'yes' if layer['holds'] else 'NO':4} {layer['how'] if layer['holds'] else layer['reason']}"
        assert line in said


def test_every_class_of_attack_has_the_walls_that_hold(doctor, row):
    for attack in doctor["attacks"]:
        assert not set(attack["walls"]) & row["missing"], attack
        assert attack["walls"] or attack["class"] == "names, sizes and times of files", attack
    assert doctor["sufficient"] == ("--walls 1" not in row["brings"])


def test_a_server_below_the_minimum_does_not_start(doctor, row, builds, mode):
    """It says which class of attack has too few walls, and the layers that are missing."""
    if doctor["sufficient"]:
        flags, walls = ["--walls", "4"], 4
    else:
        flags, walls = [], 2
    command = harness.command(builds[mode], mode, "serve", "--listen", f"127.0.0.1:{harness.free_port()}", *flags)
    ended = subprocess.run(command, capture_output=True, text=True, env=environment(), cwd="/", timeout=PATIENCE, check=False)
    assert ended.returncode == 1
    assert f"fewer than {walls} of the layers here stop this class of attack: " in ended.stderr
    for name in row["missing"]:
        assert re.search(f"^  {name} +NO ", ended.stderr, re.M), ended.stderr


def test_jail_record_and_doctor_agree(start_server, doctor, mode):
    server = start_server(user=mode == "user")
    said = json.loads(without_pids(server.request("GET", "/v1/jail").body.decode()))
    assert said["layers"] == doctor["layers"] and said["attacks"] == doctor["attacks"]
    assert set(server.layers) == {layer["name"] for layer in doctor["layers"] if layer["holds"]}


def uid_of(pid):
    return int(re.search(r"^Uid:\s+(\d+)", pathlib.Path("/proc", str(pid), "status").read_text(), re.M).group(1))


def test_whose_uid_a_run_has(start_server, row, mode):
    """As the kernel has it: of the zygote and of the jails that wait for scripts."""
    server = start_server("--pool", "3", user=mode == "user")

    def pool():
        found = [process.pid for process in server.children() if is_python(process)]
        return found if len(found) == 4 else None

    uids, own = [uid_of(pid) for pid in wait_until(pool, "a zygote and three jails")], uid_of(server.pid)
    if row["uid"] == "its own":  # a jail that is being made has the zygote's until it takes its own
        wait_until(lambda: len({own, *(uid_of(pid) for pid in pool() or ())}) == 5, "five uids")
    elif row["uid"] == "one for all runs":
        assert len(set(uids)) == 1 and own not in uids
    else:
        assert row["uid"] == "the server's" and set(uids) == {own}


def test_whether_a_script_may_fork(start_server, row, mode):
    server = start_server(user=mode == "user")
    record = server.run("import os\ndef main():\n    pid = os.fork()\n    if pid == 0:\n        os._exit(0)\n    return {'status': os.waitpid(pid, 0)[1]}\n")
    if row["processes"] == "yes":
        assert record["result"] == {"status": 0}
    else:
        assert record["status"] == "script_error" and "PermissionError" in record["error"]["type"], record
        assert server.result("import threading\ndef main():\n    t = threading.Thread(target=print)\n    t.start(); t.join()\n    return {}") == {}
