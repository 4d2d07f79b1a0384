"""Another make of jail around each run: `engine = bubblewrap`, and nsjail where it is on PATH. ./check runs the contract, the
limits and the run records under bubblewrap as well; here is what is an engine's own."""
import os
import shutil
import signal

import pytest

import harness
from harness import HELLO, LONG, MIB, PATIENCE, alive, background, command_of, spin, wait_until

ENGINES = {"bubblewrap": "bwrap", "nsjail": "nsjail"}


@pytest.fixture(params=ENGINES)
def engine(request):
    if request.param == "nsjail" and not shutil.which("nsjail"):
        pytest.skip("nsjail is in no Debian package and not on PATH here")
    return request.param


@pytest.fixture
def serve(start_server, engine, mode):
    def start(*args):
        program = shutil.which(ENGINES[engine])
        return start_server("--engine", engine, f"--{engine}", program, "--pool", "2", *args, user=mode == "user")

    return start


def tools(server, engine):
    program = ENGINES[engine].encode()
    return [each for each in server.children() if os.path.basename(command_of(each.pid)[0]) == program]


def test_the_contract(serve, engine):
    server = serve()
    said = server.execute('def main():\n    print("hello world")\n    return {"message": "done"}\n')
    assert (said.status, said.body) == (200, b'{"result":{"message":"done"},"stdout":"hello world"}')
    assert server.execute("def main(): pass\n").error == "main() did not return a value"
    assert server.execute("x = 1\n").error == "Script must define a function named main()"
    assert server.execute("def main(): return 1\n").error == "main() must return a JSON object (e.g., a Python dict)"
    assert server.execute("def main():\n    return 1 / 0\n").error == "ZeroDivisionError: division by zero (script.py, line 2)"
    jail = server.request("GET", "/v1/jail").json
    for name in ("namespaces", "root"):
        layer = next(each for each in jail["layers"] if each["name"] == name)
        assert layer["holds"] and f"by {engine}" in layer["how"], layer


# How the tool's exit status tells of a run's end.
def test_ends_are_told_truly(serve):
    server = serve("--limits.memory_bytes", "64MiB")
    assert server.execute("import os\ndef main(): os._exit(3)\n").error == "script exited with status 3 before main() returned"
    assert server.execute("import ctypes\ndef main(): ctypes.string_at(0)\n").error == "script was killed by signal SIGSEGV"
    assert server.execute("import os\ndef main(): os.abort()\n").error == "script was killed by signal SIGABRT"
    assert server.execute("import os\ndef main(): os.kill(os.getpid(), 9)\n").error == "script was killed by signal SIGKILL"
    slow = server.execute("import time\ndef main(): time.sleep(60)\n", limits={"wall_ms": 300})
    assert slow.error == "time limit exceeded: 0.3 s"
    busy = server.execute(spin(60), limits={"cpu_ms": 300})
    assert busy.error == "CPU time limit exceeded: 0.3 s"
    large = server.execute(f"def main():\n    return {{'n': len(bytearray({256 * MIB}))}}\n")
    assert large.error == "memory limit exceeded: 64 MiB"
    server.assert_serves()


def test_the_script_is_alone_and_without_privilege(serve):
    found = serve().result(
        """
        import os
        def main():
            def fails(call, *args):
                try:
                    call(*args)
                except OSError as error:
                    return type(error).__name__
            return {
                "pid": os.getpid(), "ids": [os.getuid(), os.getgid()], "work": os.getcwd(),
                "root": sorted(os.listdir("/")), "passwd": fails(open, "/etc/passwd"),
                "write": fails(open, "/usr/lib/x", "w"), "root_write": fails(open, "/x", "w"),
                "descriptors": [fd for fd in range(3, 64) if not fails(os.fstat, fd)],
                "names": sorted(name for name in os.environ),
            }
        """
    )
    assert found["pid"] == 1 and found["ids"] == [1000, 1000] and found["work"] == "/box/work"
    assert not {"proc", "sys", "home", "root", "var"} & set(found["root"])
    assert found["passwd"] == "FileNotFoundError"
    assert {found["write"], found["root_write"]} <= {"OSError", "PermissionError"}
    assert found["descriptors"] in ([], [3])  # the report's pipe
    assert set(found["names"]) <= {"HOME", "LANG", "PATH", "LC_CTYPE", "PWD", "USER", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS",
                                   "MPLBACKEND", "MPLCONFIGDIR", "LOGNAME"}


def test_a_cancelled_run_takes_its_tool_along(serve, engine):
    server = serve("--concurrency", "1", *LONG)
    with server.occupied() as cancel:
        before = tools(server, engine)
        assert before
        running = server.wait_busy()
        cancel()
        wait_until(lambda: not alive(running), "the end of the run")
    server.assert_serves()


def test_a_killed_tool_is_no_success(serve, engine):
    server = serve("--concurrency", "1", *LONG)
    answer = background(server.execute, "import time\ndef main():\n    time.sleep(3)\n    return {'slept': True}\n")
    busy = wait_until(lambda: [each for each in tools(server, engine)], "a tool")
    for each in busy:
        os.kill(each.pid, signal.SIGKILL)
    # It was killed from outside: the run is started anew in another jail, or its end is told.
    said = answer.result(PATIENCE)
    assert said.status != 200 or said.body == b'{"result":{"slept":true},"stdout":""}'
    wait_until(lambda: not any(alive(each) for each in busy), "the end of the tools")
    server.assert_serves()


def test_nothing_outlives_a_killed_supervisor(serve):
    server = serve(*LONG)
    with server.occupied():
        full = b'safe_script_environment_pool{environment="default"} 2'  # bubblewrap that dies at its start may leave its child
        wait_until(lambda: full in server.request("GET", "/metrics").body, "a full pool")
        tree = server.children()
        server.process.kill()
        server.wait_exit()
        wait_until(lambda: not any(alive(each) for each in tree), "the end of all its processes")
    for directory in harness.cgroup_directories(server.pid):
        for top, _, _ in os.walk(directory, topdown=False):
            os.rmdir(top)


# bubblewrap binds what is inside to its own life only some steps after it has begun it.
def test_a_tool_that_is_killed_at_its_start_leaves_nothing(start_server, engine, mode, public_dir):
    tool, slow = public_dir / "slow-to-start", public_dir / "slow"
    tool.write_text(f'#!/bin/sh\n[ -e {slow} ] && sleep 4096\nexec {shutil.which(ENGINES[engine])} "$@"\n')
    tool.chmod(0o755)
    server = start_server("--engine", engine, f"--{engine}", tool, "--pool", "1", user=mode == "user")
    slow.touch()
    assert server.result(HELLO) == {"message": "hello"}
    wait_until(lambda: any(command_of(each.pid)[:1] == [b"sleep"] for each in server.children()), "a tool at its start")
    slow.unlink()
    server.stop()
    assert not [each for each in harness.processes().values() if command_of(each.pid) == [b"sleep", b"4096"]]


def test_a_missing_tool_is_named(cli, engine):
    answer = cli("serve", "--engine", engine, f"--{engine}", "/nonexistent/tool", "--listen", "127.0.0.1:0")
    assert answer.returncode == 2 and b"/nonexistent/tool" in answer.stderr and b"with --bubblewrap or --nsjail" in answer.stderr


def test_an_engine_that_is_none_is_named(cli):
    answer = cli("doctor", "--engine", "docker")
    assert answer.returncode == 2 and b'"docker" is not one of clone, bubblewrap, nsjail' in answer.stderr


def test_a_tool_that_refuses_is_quoted(cli, engine, public_dir):
    tool = public_dir / "tool"
    tool.write_text("#!/bin/sh\necho first >&2\necho 'no luck today' >&2\nexit 1\n")
    tool.chmod(0o755)
    answer = cli("doctor", "--engine", engine, f"--{engine}", tool)
    assert b"no luck today" in answer.stdout


def test_the_shipped_configuration_shows_what_the_policy_shows(cli):
    shipped = (harness.BUILD / "nsjail.cfg").read_text()
    policy = cli("policy").stdout.decode()
    shown = policy[: policy.index("Writable")]
    paths = [line.split()[0] for line in shown.splitlines() if line.strip().startswith("/")]
    assert len(paths) > 20
    for path in paths:
        assert f'dst: "{path}"' in shipped, path
