"""The command line: run, doctor, policy, help, version, and what is said about wrong settings."""
import json
import re
import subprocess

import pytest

from harness import HELLO, IS_ROOT, base64_of, free_port, layer_names, python_flag

LAYERS = ("cgroup", "namespaces", "root", "identity", "rlimits", "landlock", "seccomp", "supervisor")
ROW = '{"message":"done"}'


@pytest.fixture
def run(cli, public_dir, mode):
    """run(script, *flags) → CompletedProcess of `safe-script run FILE`, its directory as run.directory."""

    def call(script, *flags, **options):
        file = public_dir / "script.py"
        file.write_text(script)
        return cli("run", str(file), *python_flag(), *flags, mode=mode, **options)

    call.directory = public_dir
    return call


def test_result_on_stdout_and_the_rest_on_stderr(run):
    ended = run('import sys\ndef main():\n    print("hello")\n    print("oops", file=sys.stderr)\n    return {"message": "done"}\n')
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.decode().rstrip("\n") == ROW
    assert b"hello" in ended.stderr and b"oops" in ended.stderr
    assert b"hello" not in ended.stdout


def test_script_from_stdin(cli, mode):
    ended = cli("run", "-", *python_flag(), mode=mode, stdin=HELLO.encode())
    assert (ended.returncode, ended.stdout.rstrip()) == (0, b'{"message":"hello"}'), ended.stderr


FAILURES = {
    "raises": ("def main():\n    return 1 / 0\n", r"ZeroDivisionError: division by zero \(script\.py, line 2\)"),
    "no main": ("x = 1\n", r"Script must define a function named main\(\)"),
    "no value": ("def main():\n    pass\n", r"main\(\) did not return a value"),
    "no object": ("def main():\n    return 1\n", r"main\(\) must return a JSON object \(e\.g\., a Python dict\)"),
    "killed": ("import ctypes\ndef main():\n    ctypes.string_at(0)\n", r"script was killed by signal SIGSEGV"),
    "exited 0": ("import os\ndef main():\n    os._exit(0)\n", r"script exited with status 0 before main\(\) returned"),
}


@pytest.mark.parametrize("script, message", FAILURES.values(), ids=FAILURES)
def test_a_failed_run_is_exit_1(run, script, message):
    ended = run(script)
    assert ended.returncode == 1
    assert ended.stdout == b""
    assert re.search(message, ended.stderr.decode()), ended.stderr


def test_input(run):
    ended = run("def main(given):\n    return {'got': given}\n", "--input", '{"a": [1, 2]}')
    assert json.loads(ended.stdout) == {"got": {"a": [1, 2]}}, ended.stderr


def test_input_that_is_not_json(run):
    ended = run(HELLO, "--input", "{nope")
    assert ended.returncode in (1, 2)
    assert b"input" in ended.stderr
    assert ended.stdout == b""


def test_stdin_files_and_returned_files(run):
    (run.directory / "in.txt").write_text("from the host")
    (run.directory / "stdin.txt").write_text("typed")
    ended = run(
        "import sys\ndef main():\n    open('out.bin', 'wb').write(b'\\0\\1')\n    return {'stdin': sys.stdin.read(), 'file': open('sub/in.txt').read()}\n",
        "--stdin", str(run.directory / "stdin.txt"), "--file", f"sub/in.txt={run.directory / 'in.txt'}", "--return", "*.bin", "--json",
    )
    record = json.loads(ended.stdout)
    assert ended.returncode == 0, ended.stderr
    assert record["result"] == {"stdin": "typed", "file": "from the host"}
    assert record["files"] == [{"path": "out.bin", "size": 2, "content": base64_of(b"\0\1")}]


def test_json_is_the_run_record(run):
    ended = run("def main():\n    print('p')\n    return {'a': 1}\n", "--json")
    record = json.loads(ended.stdout)
    assert (ended.returncode, record["status"], record["result"], record["stdout"]) == (0, "ok", {"a": 1}, "p\n")
    assert "supervisor" in layer_names(record)
    assert "cgroup" in layer_names(record) or not IS_ROOT or ended.returncode == 0


def test_json_of_a_failed_run(run):
    ended = run("def main():\n    raise KeyError('k')\n", "--json")
    record = json.loads(ended.stdout)
    assert (ended.returncode, record["status"], record["error"]["line"]) == (1, "script_error", 2)


def test_limits(run):
    ended = run("import time\ndef main():\n    time.sleep(60)\n", "--limits.wall_ms", "1000")
    assert ended.returncode == 1
    assert b"time limit exceeded: 1 s" in ended.stderr


def test_a_flag_with_an_equals_sign(run):
    ended = run("import time\ndef main():\n    time.sleep(60)\n", "--limits.wall_ms=1000")
    assert b"time limit exceeded: 1 s" in ended.stderr


def test_values_are_exact(run):
    ended = run("def main():\n    return {'z': 2**200, 'a': [0.1, 1e308, -0.0], 's': '\\ud800é'}\n")
    assert ended.stdout.decode().rstrip("\n") == f'{{"z":{2**200},"a":[0.1,1e+308,-0.0],"s":"\\ud800é"}}'


USAGE = {
    "no file": ("run",),
    "no such file": ("run", "/no/such/file.py"),
    "two files": ("run", "/a.py", "/b.py"),
    "unknown flag": ("run", "-", "--colour"),
    "unknown limit": ("run", "-", "--limits.colour", "1"),
    "bad limit": ("run", "-", "--limits.wall_ms", "banana"),
    "input without value": ("run", "-", "--input"),
    "file without path": ("run", "-", "--file", "nothing"),
    "no such stdin": ("run", "-", "--stdin", "/no/such/file"),
    "no such subcommand": ("dance",),
    "no such flag": ("--colour",),
    "serve with a file": ("serve", "x.py"),
    "doctor with a file": ("doctor", "x"),
}


@pytest.mark.parametrize("arguments", USAGE.values(), ids=USAGE)
def test_wrong_usage_is_exit_2_and_named(cli, arguments):
    ended = cli(*arguments, stdin=HELLO.encode())
    assert ended.returncode == 2, (ended.returncode, ended.stderr)
    assert ended.stdout == b""
    assert ended.stderr
    if len(arguments) > 1 or arguments[0] != "run":
        wanted = [part.lstrip("-").encode() for part in arguments if part not in ("run", "serve", "doctor", "-")]
        assert any(part in ended.stderr for part in wanted), ended.stderr


# Help.


def test_version(cli):
    ended = cli("--version")
    assert ended.returncode == 0
    assert re.fullmatch(rb"safe-script \d+\.\d+\.\d+\n", ended.stdout)


@pytest.mark.parametrize("flag", ("--help", "-h", "help"))
def test_help(cli, flag):
    ended = cli(flag)
    assert ended.returncode == 0, ended.stderr
    for word in (b"serve", b"run", b"doctor", b"policy"):
        assert word in ended.stdout


@pytest.mark.parametrize("subcommand, words", {
    "serve": ("--listen", "--python", "--config", "--pool", "--concurrency", "--queue", "--grace-ms", "--recycle-runs",
              "--check-config", "wall_ms", "cpu_ms", "memory_bytes", "processes", "output_bytes", "disk_bytes", "inodes",
              "open_files", "request_bytes", "result_bytes"),
    "run": ("--input", "--stdin", "--file", "--return", "--json", "limits"),
    "doctor": ("--json",),
    "policy": (),
}.items())
def test_help_of_a_subcommand(cli, subcommand, words):
    ended = cli(subcommand, "--help")
    assert ended.returncode == 0, ended.stderr
    for word in words:
        assert word in ended.stdout.decode(), word


def test_no_arguments_say_what_there_is(cli):
    ended = cli()
    assert ended.returncode in (0, 2)
    assert b"serve" in ended.stdout + ended.stderr


# Doctor and policy.


def dictionaries(value):
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from dictionaries(each)


def test_doctor(cli, mode):
    ended = cli("doctor", *python_flag(), mode=mode)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    for layer in LAYERS:
        assert layer in ended.stdout.decode()


def test_doctor_as_json(cli, mode):
    ended = cli("doctor", "--json", *python_flag(), mode=mode)
    assert ended.returncode == 0, ended.stderr
    found = {each["name"]: each for each in dictionaries(json.loads(ended.stdout)) if each.get("name") in LAYERS}
    assert set(found) == set(LAYERS)
    without = {name for name, each in found.items() if each.get("holds") is not True}
    assert without <= ({"cgroup"} if mode == "user" else set()), {name: found[name] for name in without}
    for name in without:
        assert len(json.dumps(found[name])) > 60, "says why not"


def test_doctor_and_serve_refuse_below_the_minimum(cli, mode):
    ended = cli("doctor", "--walls", "4", mode=mode)
    assert ended.returncode == 1, ended.stdout
    served = cli("serve", "--walls", "4", "--listen", f"127.0.0.1:{free_port()}", mode=mode)
    assert served.returncode not in (0, 2)
    assert b"wall" in served.stderr


def test_policy(cli, mode):
    ended = cli("policy", mode=mode)
    assert ended.returncode == 0, ended.stderr
    for word in ("/box", "/usr", "read", "write", "socket", "clone"):
        assert word in ended.stdout.decode(), word


# Settings.


def check(cli, *arguments, **options):
    return cli("serve", "--check-config", *arguments, **options)


@pytest.fixture
def config(public_dir):
    def write(text):
        path = public_dir / "safe-script.ini"
        path.write_text(text)
        return str(path)

    return write


GOOD = """
; a comment
[server]
listen = 127.0.0.1:18080
pool = 2
concurrency = 2
queue = 10
grace_ms = 5000
recycle_runs = 100
recycle_minutes = 10
log_level = debug

[limits]
wall_ms = 5000
cpu_ms = 5000
memory_bytes = 134217728
processes = 32
output_bytes = 65536
disk_bytes = 1048576
inodes = 100
open_files = 64
request_bytes = 1048576
result_bytes = 1048576
"""


def test_a_good_configuration(cli, config):
    assert check(cli, "--config", config(GOOD)).returncode == 0
    assert check(cli).returncode == 0
    assert check(cli, env={"SAFE_SCRIPT_LIMITS_WALL_MS": "1000", "SAFE_SCRIPT_LISTEN": "127.0.0.1:18080", "PORT": "18081"}).returncode == 0


WRONG_FILES = {
    "unknown key": ("[server]\ncolour = red\n", "colour"),
    "unknown limit": ("[limits]\nwall = 1\n", "wall"),
    "unknown section": ("[colours]\nred = 1\n", "colours"),
    "key in the wrong section": ("[limits]\nlisten = 127.0.0.1:1\n", "listen"),
    "no section": ("listen = 127.0.0.1:1\n", "listen"),
    "not a number": ("[limits]\nwall_ms = banana\n", "wall_ms"),
    "zero": ("[limits]\nwall_ms = 0\n", "wall_ms"),
    "negative": ("[limits]\nprocesses = -1\n", "processes"),
    "too large": ("[limits]\nprocesses = 99999999999999999999\n", "processes"),
    "log level": ("[server]\nlog_level = loud\n", "log_level"),
    "no value": ("[server]\npool\n", "safe-script.ini"),
    "bad address": ("[server]\nlisten = nonsense\n", "nonsense"),
}


@pytest.mark.parametrize("text, named", WRONG_FILES.values(), ids=WRONG_FILES)
def test_a_wrong_configuration_file(cli, config, text, named):
    ended = check(cli, "--config", config(text))
    assert ended.returncode == 2, ended.stderr
    assert named.encode() in ended.stderr


def test_a_missing_configuration_file(cli):
    ended = check(cli, "--config", "/no/such/file.ini")
    assert ended.returncode == 2
    assert b"/no/such/file.ini" in ended.stderr


@pytest.mark.parametrize("name, value", (("SAFE_SCRIPT_COLOUR", "1"), ("SAFE_SCRIPT_LIMITS_COLOUR", "1"), ("SAFE_SCRIPT_LIMITS_WALL_MS", "x"),
                                         ("SAFE_SCRIPT_POOL", "0"), ("SAFE_SCRIPT_LISTEN", "nonsense"), ("PORT", "99999"), ("PORT", "x")))
def test_a_wrong_variable(cli, name, value):
    ended = check(cli, env={name: value})
    assert ended.returncode == 2, ended.stderr
    assert name.encode() in ended.stderr or (name == "SAFE_SCRIPT_LISTEN" and value.encode() in ended.stderr)


@pytest.mark.parametrize("flags", (("--colour", "1"), ("--limits.colour", "1"), ("--limits.wall_ms", "0"), ("--limits.wall_ms", "1e3"), ("--pool", "-1"),
                                   ("--queue",), ("--listen", "nonsense"), ("--listen", "127.0.0.1:99999"), ("--listen", "unix:")), ids=" ".join)
def test_a_wrong_flag(cli, flags):
    ended = check(cli, *flags)
    assert ended.returncode == 2, ended.stderr
    assert any(part.lstrip("-").encode() in ended.stderr for part in flags)


def test_a_flag_wins_over_a_variable_and_that_over_the_file(start_server, config):
    late = "import time\ndef main():\n    time.sleep(60)\n"
    file = config("[limits]\nwall_ms = 1000\n")
    variable = {"SAFE_SCRIPT_LIMITS_WALL_MS": "1500"}
    assert start_server("--config", file).execute(late).error == "time limit exceeded: 1 s"
    assert start_server("--config", file, env=variable).execute(late).error == "time limit exceeded: 1.5 s"
    assert start_server("--config", file, "--limits.wall_ms", "2s", env=variable).execute(late).error == "time limit exceeded: 2 s"
    assert start_server(env={"SAFE_SCRIPT_CONFIG": file}).execute(late).error == "time limit exceeded: 1 s"


@pytest.mark.parametrize("python", ("/no/such/python", "/bin/true", "/etc/passwd", "/"))
def test_a_python_that_is_none(cli, python):
    ended = cli("serve", "--listen", f"127.0.0.1:{free_port()}", "--python", python)
    assert ended.returncode != 0
    assert python.encode() in ended.stderr


# What another interpreter says of itself to the supervisor's question.
OTHERS = {
    "free-threaded": ("version CPython 3.14.2\nhex 030e02f0 free", "is a free-threaded CPython 3.14.2; one with the global lock is needed"),
    "old": ("version CPython 3.8.20\nhex 030814f0 ", "is CPython 3.8.20; CPython 3.9 or later is needed"),
    "another": ("version PyPy 3.10.14\nhex 030a0ef0 ", "is PyPy 3.10.14; CPython 3.9 or later is needed"),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_a_python_of_another_kind_is_refused_by_name(cli, public_dir, mode, kind):
    python, (says, words) = public_dir / "python3", OTHERS[kind]
    python.write_text(f"#!/bin/sh\ncat <<'.'\n{says}\n.\n")
    python.chmod(0o755)
    ended = cli("serve", "--listen", f"unix:{public_dir}/socket", "--python", str(python), mode=mode)
    assert ended.returncode == 1 and f"{python} {words}" in ended.stderr.decode(), ended


def make_venv(directory):
    subprocess.run(["/usr/bin/python3", "-m", "venv", "--without-pip", str(directory)], check=True)
    (site,) = (directory / "lib").glob("python3*/site-packages")
    (site / "only_in_the_venv.py").write_text("x = 5\n")
    return str(directory / "bin/python")


USE_VENV = "import only_in_the_venv\ndef main():\n    return {'x': only_in_the_venv.x}\n"


def test_a_venvs_python(start_server, public_dir, mode):
    server = start_server("--python", make_venv(public_dir / "venv"), user=mode == "user")
    assert server.result(USE_VENV) == {"x": 5}


@pytest.mark.skipif(not IS_ROOT, reason="a directory that only root enters")
def test_a_venv_below_a_directory_of_roots_own(start_server, public_dir):
    """The scripts' user could not go there by the path; nothing else in it is shown."""
    private = public_dir / "private"
    private.mkdir(mode=0o700)
    (private / "letter").write_text("to nobody")
    server = start_server("--python", make_venv(private / "venv"))
    assert server.result(USE_VENV) == {"x": 5}
    looked = server.run(f"def main():\n    return {{'text': open({str(private / 'letter')!r}).read()}}\n")
    assert looked["status"] == "script_error" and looked["error"]["type"] in ("FileNotFoundError", "PermissionError"), looked
