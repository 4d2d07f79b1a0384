"""What each process of the server has, as the kernel tells it: uid, capabilities, namespaces, files, filters. The table in
doc/ARCHITECTURE.md says the same for people."""
import os
import pathlib
import re

import pytest

import harness
from harness import wait_until

CAPABILITIES = {"CHOWN": 0, "DAC_OVERRIDE": 1, "DAC_READ_SEARCH": 2, "FOWNER": 3, "KILL": 5, "SETGID": 6, "SETUID": 7, "SETPCAP": 8, "SYS_CHROOT": 18, "SYS_ADMIN": 21}
TEMPLATE_NAMESPACES = ("net", "uts", "ipc", "mnt")


def status(pid):
    text = pathlib.Path("/proc", str(pid), "status").read_text()
    return dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)


def capabilities(pid):
    """Of the permitted, effective, inheritable, bounding and ambient sets."""
    fields = status(pid)
    return {name: int(fields[name], 16) for name in ("CapPrm", "CapEff", "CapInh", "CapBnd", "CapAmb")}


def namespace(pid, kind):
    return os.readlink(f"/proc/{pid}/ns/{kind}")


def descriptors(pid):
    table = {}
    for number in os.listdir(f"/proc/{pid}/fd"):
        try:
            table[int(number)] = os.readlink(f"/proc/{pid}/fd/{number}")
        except OSError:
            pass
    return table


def bits(*names):
    return sum(1 << CAPABILITIES[name] for name in names)


def memory(pid):
    """Every readable mapping of a process."""
    with open(f"/proc/{pid}/maps", encoding="utf-8", errors="replace") as lines, open(f"/proc/{pid}/mem", "rb", 0) as memory_file:
        for line in lines:
            start, end = (int(part, 16) for part in line.split()[0].split("-"))
            if line.split()[1][0] != "r" or line.rstrip().endswith(("[vvar]", "[vvar_vclock]", "[vsyscall]")):
                continue
            yield os.pread(memory_file.fileno(), end - start, start)


def starter(server):
    return next(each.pid for each in server.children() if each.name == "safe-starter")


def waiting_run(server):
    depth = harness.pid_depth(server.pid)
    return wait_until(
        lambda: next((each.pid for each in server.children() if harness.is_python(each) and harness.pid_depth(each.pid) > depth), None),
        "a run that waits",
    )


@pytest.fixture
def parts(server):
    server.assert_serves()
    return {
        "supervisor": server.pid,
        "starter": starter(server),
        "front": server.front().pid,
        "zygote": server.zygotes()[0].pid,
        "run": waiting_run(server),
    }


@pytest.mark.parametrize("part", ("front", "zygote", "run"))
def test_no_capability_is_left_or_to_be_had(parts, part):
    assert set(capabilities(parts[part]).values()) == {0}
    assert status(parts[part])["NoNewPrivs"] == "1"


def test_the_supervisor_keeps_what_ends_runs(server, parts):
    kept = bits("KILL") if server.mode == "root" else 0
    # At the top of a hierarchy the directory that was made at the start can only be removed so.
    bases = [os.path.dirname(path) for path in harness.cgroup_directories(server.pid)]
    if server.mode == "root" and not all(os.stat(base).st_mode & 0o200 for base in bases):
        kept |= bits("DAC_OVERRIDE")
    sets = capabilities(parts["supervisor"])
    assert sets["CapInh"] == sets["CapAmb"] == 0
    assert sets["CapPrm"] == sets["CapEff"] == kept
    assert sets["CapBnd"] == kept or server.mode == "user"
    assert status(parts["supervisor"])["NoNewPrivs"] == "1"


def test_the_starter_keeps_what_begins_processes(server, parts):
    kept = bits("SYS_ADMIN", "SYS_CHROOT", "SETUID", "SETGID", "SETPCAP", "DAC_READ_SEARCH") if server.mode == "root" else 0
    sets = capabilities(parts["starter"])
    assert sets["CapInh"] == sets["CapAmb"] == 0
    assert sets["CapPrm"] == sets["CapEff"] == kept
    assert sets["CapBnd"] == kept or server.mode == "user"
    assert status(parts["starter"])["NoNewPrivs"] == "1"


@pytest.mark.skipif(not harness.IS_ROOT, reason="to whom a file in /proc belongs shows it only where the process is not root's")
@pytest.mark.parametrize("part", ("supervisor", "starter", "front", "zygote", "run"))
def test_nobody_of_the_same_uid_can_trace_it(server, parts, part):
    if int(status(parts[part])["Uid"].split()[0]) != 0:
        assert os.stat(f"/proc/{parts[part]}/environ").st_uid == 0
    else:
        assert server.mode == "root" and part in ("supervisor", "starter")


@pytest.mark.parametrize("part", ("front", "zygote"))
def test_namespaces_of_their_own_and_empty(server, parts, part):
    assert {"namespaces", "root"} <= set(server.layers)
    shared = [kind for kind in TEMPLATE_NAMESPACES if namespace(parts[part], kind) == namespace(server.pid, kind)]
    assert shared == []
    interfaces = pathlib.Path(f"/proc/{parts[part]}/net/dev").read_text().splitlines()[2:]
    assert [line.split(":")[0].strip() for line in interfaces] == ["lo"]
    assert not re.search(r"^lo\s+\S", pathlib.Path(f"/proc/{parts[part]}/net/route").read_text(), re.MULTILINE)


@pytest.mark.skipif(not harness.IS_ROOT, reason="only root's server gives each run ids of its own")
def test_no_user_namespace_can_be_made_below_a_run_s(server, parts):
    """The kernel asks for a mapping of the maker's effective group; a run's files have the mapped one."""
    if server.mode != "root":
        pytest.skip("an ordinary user's runs map themselves, and have the sysctl for it")
    mapped = pathlib.Path(f"/proc/{parts['run']}/gid_map").read_text().split()[1]
    real, effective, saved, of_files = status(parts["run"])["Gid"].split()
    assert of_files == mapped == status(parts["run"])["Uid"].split()[0]
    assert mapped not in (real, effective, saved)


def test_a_run_has_namespaces_of_its_own(parts):
    for kind in ("user", "pid", "mnt", "ipc"):
        assert namespace(parts["run"], kind) not in (namespace(parts["zygote"], kind), namespace(parts["supervisor"], kind))


def test_the_front_and_the_zygote_are_in_different_rooms(parts):
    for kind in TEMPLATE_NAMESPACES:
        assert namespace(parts["front"], kind) != namespace(parts["zygote"], kind)


def test_every_part_has_a_uid_of_its_own(server, parts):
    uids = {part: status(pid)["Uid"].split() for part, pid in parts.items()}
    assert all(len(set(each)) == 1 for each in uids.values()), uids
    own = {part: int(each[0]) for part, each in uids.items()}
    if server.mode == "root":
        assert own["supervisor"] == own["starter"] == 0
        assert len({own["front"], own["zygote"], own["run"], 0}) == 4
        assert [status(parts[each])["Groups"].split() for each in ("front", "zygote", "run")] == [[], [], []]
    else:
        assert set(own.values()) == {int(harness.NOBODY)}  # an ordinary user has one


def test_the_front_s_root_holds_nothing_of_the_host_s(server, parts, builds):
    root, program = pathlib.Path(f"/proc/{parts['front']}/root"), pathlib.Path(builds[server.mode]).resolve() / "safe-script-http"
    way = {str(parent.relative_to("/")): [child.name] for child, parent in zip((program, *program.parents), program.parents) if parent.name}
    for name in ("proc", "sys", "home", "root", "var", "bin", "usr/bin", "etc/passwd"):
        assert not (root / name).exists() or os.listdir(root / name) == way.get(name), name
    # The program is shown where it is, and nothing that lies beside the way there.
    assert all(os.listdir(root / directory) == names for directory, names in way.items() if directory.split("/")[0] not in ("usr", "tmp"))
    flags = [line.split()[5].split(",") for line in pathlib.Path(f"/proc/{parts['front']}/mountinfo").read_text().splitlines()]
    assert flags and all("ro" in each for each in flags)


def test_the_front_holds_its_streams_and_sockets_alone(parts):
    kinds = {re.sub(r"\d+", "N", target) for number, target in descriptors(parts["front"]).items() if number > 2}
    assert kinds <= {"socket:[N]", "anon_inode:[eventpoll]", "/memfd:jail (deleted)"}, kinds


def test_the_starter_holds_its_orders_and_the_front_s_program(parts):
    held = {number: target for number, target in descriptors(parts["starter"]).items() if number > 2}
    assert sorted(held) == [3, 5]
    assert held[3].startswith("socket:") and held[5].endswith("/safe-script-http")


def test_runs_are_the_first_to_go_when_the_machine_has_no_memory(parts):
    score = {part: int(pathlib.Path(f"/proc/{pid}/oom_score_adj").read_text()) for part, pid in parts.items()}
    assert score["supervisor"] == score["starter"]
    assert score["supervisor"] <= score["front"] <= score["zygote"] == score["run"]
    assert score["supervisor"] < score["run"] or score["run"] == 1000


@pytest.mark.parametrize("part", ("supervisor", "front", "run"))
def test_system_calls_are_filtered(parts, part):
    assert status(parts[part])["Seccomp"] == "2"


def test_without_its_starter_the_server_ends_in_order(start_server, mode):
    server = start_server(user=mode == "user")
    flying = harness.background(server.execute, "import time\ndef main():\n    time.sleep(2)\n    return {'slept': 2}\n")
    front = server.front().pid
    wait_until(lambda: any(target.startswith("pipe:") for number, target in descriptors(front).items() if number > 2), "a run")
    tree = server.children()
    os.kill(starter(server), harness.signal.SIGKILL)
    assert server.wait_exit(harness.PATIENCE) == 1
    assert flying.result(harness.PATIENCE).json == {"result": {"slept": 2}, "stdout": ""}
    assert any("starter ended" in line for line in server.log_lines())
    server.traces.assert_clean(server.pid, tree)


@pytest.mark.skipif(not harness.IS_ROOT, reason="reads the memory of processes that nobody else may look at")
def test_what_the_operator_wrote_is_in_no_other_process(start_server, mode, public_dir):
    marks = {name: f"{name}-{os.urandom(8).hex()}" for name in ("environment", "argument", "comment", "value")}
    config = public_dir / f"{marks['argument']}.conf"
    box_directory = public_dir / marks["value"]
    box_directory.mkdir(mode=0o777)
    config.write_text(f"# {marks['comment']}\n[server]\nbox_directory = {box_directory}\n")
    server = start_server("--config", config, env={"OPERATOR_SECRET": marks["environment"]}, user=mode == "user")
    server.assert_serves()

    def found(pid):
        whole = b"".join(memory(pid))
        return {name for name, mark in marks.items() if mark.encode() in whole}

    assert found(server.pid) >= {"environment", "argument", "value"}  # so the search finds what there is
    for pid in (server.front().pid, server.zygotes()[0].pid, waiting_run(server)):
        assert found(pid) == set()
