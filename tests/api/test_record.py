"""CONTRACT.md section 2: the run record of POST /v1/runs."""
import base64
import re

import pytest

from harness import HELLO, MIB, base64_of, layer_names

RECORD = ["id", "status", "result", "stdout", "stderr", "stdout_truncated", "stderr_truncated", "error", "files", "denied",
          "usage", "jail", "environment"]
ERROR = ["type", "message", "line", "traceback"]
USAGE = ["queued_ms", "wall_ms", "cpu_ms", "memory_peak_bytes", "processes_peak", "stdout_bytes"]
LAYERS = ["cgroup", "namespaces", "root", "identity", "rlimits", "landlock", "seccomp", "supervisor"]


def test_a_whole_record(server):
    answer = server.post_run('import sys\ndef main():\n    print("out\\n")\n    print("err", file=sys.stderr)\n    return {"z": 1, "a": 2}\n')
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/json"
    record = answer.json
    assert list(record) == RECORD
    assert record["id"] and isinstance(record["id"], str)
    assert record["status"] == "ok"
    assert list(record["result"].items()) == [("z", 1), ("a", 2)]
    assert (record["stdout"], record["stderr"]) == ("out\n\n", "err\n")
    assert (record["stdout_truncated"], record["stderr_truncated"]) == (False, False)
    assert record["error"] is None
    assert (record["files"], record["denied"]) == ([], [])
    assert list(record["usage"]) == USAGE
    assert isinstance(record["environment"], str)


def test_a_python_body(server):
    answer = server.post("/v1/runs", HELLO.encode(), "text/x-python")
    assert answer.status == 200
    assert answer.json["result"] == {"message": "hello"}


def test_ids_differ(server):
    ids = [server.run(HELLO)["id"] for _ in range(5)]
    assert len(set(ids)) == 5


def test_usage_is_plausible(server):
    usage = server.run(
        """
        import time
        def main():
            block = b"x" * (50 << 20)
            end = time.process_time() + 0.3
            while time.process_time() < end:
                pass
            time.sleep(0.2)
            print("x" * 99)
            return {}
        """
    )["usage"]
    assert 500 <= usage["wall_ms"] <= 10_000
    assert 280 <= usage["cpu_ms"] <= usage["wall_ms"] * 2
    assert 0 <= usage["queued_ms"] <= 10_000
    assert usage["stdout_bytes"] == 100
    if "cgroup" in server.layers:
        assert 50 * MIB <= usage["memory_peak_bytes"] <= 256 * MIB
        assert 0 <= usage["processes_peak"] <= 64
    for value in usage.values():
        assert value is None or isinstance(value, int)


def test_the_layers_are_listed(server):
    names = layer_names(server.run(HELLO))
    assert [name for name in LAYERS if name in names] == names, "in the order of the table"
    missing = set(LAYERS) - set(names)
    assert missing <= ({"cgroup"} if server.mode == "user" else set()), f"layers that do not hold here: {missing}"


# Every status that a synchronous run can have: script, options, status, error type, error text, line.
STATUSES = {
    "ok": (HELLO, {}, "ok", None, None, None),
    "raises": ("def main():\n    return 1 / 0\n", {}, "script_error", "ZeroDivisionError", "division by zero", 2),
    "raises at the top": ("\n1 / 0\ndef main():\n    return {}\n", {}, "script_error", "ZeroDivisionError", "division by zero", 2),
    "does not compile": ("def main():\n    return {}\nx = = 1\n", {}, "script_error", "SyntaxError", "invalid syntax.*", 3),
    "no main": ("x = 1\n", {}, "contract_error", None, r"Script must define a function named main\(\)", None),
    "no value": ("def main():\n    pass\n", {}, "contract_error", None, r"main\(\) did not return a value", None),
    "no object": ("def main():\n    return 1\n", {}, "contract_error", None, r"main\(\) must return a JSON object.*", None),
    "no JSON": ("def main():\n    return {'a': {1}}\n", {}, "contract_error", None, r".*set.*", None),
    "time": ("import time\ndef main():\n    time.sleep(50)\n", {"wall_ms": 1000}, "time_limit", None, "time limit exceeded: 1 s", None),
    "cpu": ("def main():\n    while True: pass\n", {"cpu_ms": 1000}, "cpu_limit", None, "(?i)CPU.* limit exceeded: 1 s", None),
    "memory": ("def main():\n    return {'n': len(b'x' * (1 << 30))}\n", {}, "memory_limit", None, "memory limit exceeded: 256 MiB", None),
    "MemoryError": ("def main():\n    raise MemoryError\n", {}, "memory_limit", None, "memory limit exceeded: 256 MiB", 2),
    "output": ("def main():\n    while True: print('x' * 1000)\n", {"output_bytes": 8192}, "output_limit", None, "output limit exceeded: 8 KiB", None),
    "processes": (
        "import threading, time\ndef main():\n    for _ in range(200):\n        threading.Thread(target=time.sleep, args=(30,), daemon=True).start()\n",
        {}, "process_limit", None, "process limit exceeded: 64", None,
    ),
    "disk": (
        "def main():\n    with open('f', 'wb') as f:\n        for _ in range(100):\n            f.write(bytes(1 << 20))\n",
        {}, "disk_limit", None, "disk limit exceeded: 64 MiB", None,
    ),
    "killed": ("import ctypes\ndef main():\n    ctypes.string_at(0)\n", {}, "killed", None, "script was killed by signal SIGSEGV", None),
    "kills itself": ("import os\ndef main():\n    os.kill(os.getpid(), 9)\n    return {}\n", {}, "killed", None, ".*SIGKILL", None),
    "exited": ("import os\ndef main():\n    os._exit(3)\n", {}, "exited", None, r"script exited with status 3 before main\(\) returned", None),
    "exited 0": ("import os\ndef main():\n    os._exit(0)\n", {}, "exited", None, r"script exited with status 0 before main\(\) returned", None),
}


@pytest.mark.parametrize("script, limits, status, type_, message, line", STATUSES.values(), ids=STATUSES)
def test_status(server, script, limits, status, type_, message, line):
    record = server.run(script, limits=limits)
    assert list(record) == RECORD
    assert record["status"] == status, record["error"]
    if status == "ok":
        assert record["error"] is None
        return
    assert record["result"] is None
    assert list(record["error"]) == ERROR
    assert re.fullmatch(message, record["error"]["message"]), record["error"]
    assert record["error"]["type"]
    if type_:
        assert record["error"]["type"] == type_
    if line:
        assert record["error"]["line"] == line, record["error"]


def test_what_a_failed_run_printed_is_there(server):
    for ending in ("raise ValueError", "os._exit(1)", "os.kill(os.getpid(), 9)", "return None"):
        record = server.run(f"import os\ndef main():\n    print('before', flush=True)\n    {ending}\n")
        assert record["status"] != "ok"
        assert record["stdout"] == "before\n", ending


def test_a_traceback_is_the_scripts_own(server):
    error = server.run("def inner():\n    raise ValueError('why')\ndef main():\n    inner()\n")["error"]
    traceback = error["traceback"]
    assert traceback.startswith("Traceback (most recent call last):\n")
    assert re.findall(r'File "([^"]*)", line (\d+), in (\w+)', traceback) == [("script.py", "4", "main"), ("script.py", "2", "inner")]
    assert traceback.rstrip().endswith("ValueError: why")
    assert "bootstrap" not in traceback


def test_a_traceback_shows_its_causes(server):
    script = "def main():\n    try:\n        1 / 0\n    except ZeroDivisionError as error:\n        raise KeyError('k') from error\n"
    traceback = server.run(script)["error"]["traceback"]
    assert "division by zero" in traceback and "direct cause" in traceback


def test_both_streams_are_truncated_on_their_own(server):
    record = server.run(
        "import sys\ndef main():\n    print('o' * 10)\n    print('e' * 3000, file=sys.stderr)\n    return {}\n", limits={"output_bytes": 1024}
    )
    assert record["status"] == "ok"
    assert (record["stdout"], record["stdout_truncated"]) == ("o" * 10 + "\n", False)
    assert (record["stderr"], record["stderr_truncated"]) == ("e" * 1024, True)


# Files.


def returned(record):
    files = {}
    for each in record["files"]:
        assert list(each) == ["path", "size", "content"]
        content = base64.b64decode(each["content"], validate=True)
        assert len(content) == each["size"]
        files[each["path"]] = content
    return files


def test_files_come_back(server):
    record = server.run(
        """
        import os
        def main():
            os.makedirs("plots/deep")
            open("plots/a.png", "wb").write(bytes(range(256)))
            open("plots/deep/b.png", "wb").write(b"deep")
            open("table.csv", "w").write("a,b\\n1,2\\n")
            open("empty.csv", "w")
            open("other.txt", "w").write("not asked for")
            return {}
        """,
        return_files=["*.csv", "plots/*.png"],
    )
    assert record["status"] == "ok", record["error"]
    assert returned(record) == {"plots/a.png": bytes(range(256)), "table.csv": b"a,b\n1,2\n", "empty.csv": b""}


def test_files_below_subdirectories_come_back(server):
    script = "import os\ndef main():\n    os.makedirs('x/y')\n    open('x/y/z.bin', 'wb').write(b'z')\n    open('top.bin', 'wb').write(b't')\n    return {}\n"
    assert returned(server.run(script, return_files=["**/*.bin"])).get("x/y/z.bin") == b"z"
    assert returned(server.run(script, return_files=["x/y/z.bin"])) == {"x/y/z.bin": b"z"}


def test_a_file_that_two_patterns_match_comes_back_once(server):
    record = server.run("def main():\n    open('a', 'w').write('1')\n    return {}\n", return_files=["*", "a", "a*"])
    assert [each["path"] for each in record["files"]] == ["a"]


def test_input_files_can_come_back(server):
    record = server.run(HELLO, files={"in.bin": {"base64": base64_of(b"\0\1\2")}}, return_files=["*.bin"])
    assert returned(record) == {"in.bin": b"\0\1\2"}


def test_no_match_is_no_error(server):
    record = server.run(HELLO, return_files=["*.png"])
    assert (record["status"], record["files"]) == ("ok", [])


def test_links_fifos_and_climbing_paths_do_not_come_back(server):
    record = server.run(
        """
        import os
        def try_to(call, *args):
            try:
                call(*args)
            except OSError:
                pass
        def main():
            open("honest", "w").write("1")
            try_to(os.symlink, "/etc/passwd", "link")
            try_to(os.symlink, "honest", "inner-link")
            try_to(os.symlink, "/etc", "directory")
            try_to(os.symlink, "/", "root")
            try_to(os.symlink, "../..", "up")
            try_to(os.symlink, "loop", "loop")
            try_to(os.mkfifo, "fifo")
            os.makedirs("real")
            try_to(os.symlink, "/etc/passwd", "real/link")
            return {}
        """,
        return_files=["*", "*/*", "directory/passwd", "root/etc/passwd", "up/*", "real/*", "**/*"],
    )
    assert record["status"] == "ok", record["error"]
    assert set(returned(record)) <= {"honest", "inner-link"}
    assert returned(record)["honest"] == b"1"
    assert b"root:" not in b"".join(returned(record).values())


def test_too_many_bytes_of_files_are_an_error(server):
    script = "def main():\n    open('big', 'wb').write(b'x' * (12 << 20))\n    return {}\n"
    record = server.run(script, return_files=["*"])
    assert (record["status"], record["error"]["message"]) == ("output_limit", "result limit exceeded: 8 MiB")
    assert record["files"] == []


def test_a_sparse_file_does_not_become_bytes(server):
    script = "import os\ndef main():\n    try:\n        os.truncate(os.open('big', os.O_CREAT | os.O_RDWR), 1 << 40)\n    except OSError:\n        pass\n    return {}\n"
    record = server.run(script, return_files=["*"])
    assert record["status"] in ("ok", "output_limit", "disk_limit")
    assert sum(each["size"] for each in record["files"]) < 9 * MIB
    server.assert_serves()


# What was denied is counted and explained.

DENIED = {
    "socket": ("import socket", "socket.socket()", "socket(AF_INET)", "network"),
    "socket6": ("import socket", "socket.socket(socket.AF_INET6)", "socket(AF_INET6)", "network"),
    "execve": ("import os", "os.execv('/usr/bin/true', ['true'])", "execve", ""),
}


@pytest.mark.parametrize("prelude, call, what, hint", DENIED.values(), ids=DENIED)
def test_denied(server, prelude, call, what, hint):
    record = server.run(
        f"{prelude}\ndef main():\n    n = 0\n    for _ in range(3):\n        try:\n            {call}\n"
        "        except OSError:\n            n += 1\n    return {'n': n}\n"
    )
    assert record["status"] == "ok", record["error"]
    assert record["result"] == {"n": 3}
    for each in record["denied"]:
        assert list(each) == ["what", "count", "hint"]
    entries = [each for each in record["denied"] if each["what"].startswith(what)]
    assert [each["count"] for each in entries] == [3], record["denied"]
    assert entries[0]["hint"] and hint in entries[0]["hint"]


def test_honest_programs_are_denied_nothing(server):
    record = server.run(
        """
        import asyncio, collections, csv, ctypes, datetime, decimal, hashlib, json, locale, logging, random, re, sqlite3
        import ssl, statistics, tempfile, threading, time, uuid, zoneinfo
        async def main():
            await asyncio.sleep(0.01)
            with tempfile.TemporaryFile() as file:
                file.write(b"x")
            db = sqlite3.connect(":memory:")
            return {"n": db.execute("select 1").fetchone()[0], "now": bool(datetime.datetime.now()), "u": str(uuid.uuid4()) != ""}
        """
    )
    assert record["status"] == "ok", record["error"]
    assert record["denied"] == []


def test_a_hammered_call_neither_hangs_nor_breaks_the_run(server):
    script = "import socket\ndef main():\n    n = 0\n    for _ in range(20000):\n        try:\n            socket.socket()\n        except OSError:\n            n += 1\n    return {'n': n}\n"
    record = server.run(script)
    assert record["status"] in ("ok", "time_limit", "cpu_limit")
    assert [each["what"] for each in record["denied"]] == ["socket(AF_INET)", "more calls"]
    assert record["denied"][0]["count"] == 64
    server.assert_serves()
