"""The traps of cloning a warm interpreter (DESIGN.md, processes): nothing that should be new is a copy."""
import json
import time

import pytest

from harness import wait_until

RUNS = 6

# What may never be the same in two runs.
RANDOM = {
    "random": ("import random", "random.getrandbits(128)"),
    "random.random": ("import random", "[random.random(), random.random()]"),
    "random.sample": ("import random", "random.sample(range(10**9), 8)"),
    "random.SystemRandom": ("import random", "random.SystemRandom().getrandbits(128)"),
    "secrets": ("import secrets", "secrets.token_hex(16)"),
    "uuid1": ("import uuid", "str(uuid.uuid1())"),
    "uuid4": ("import uuid", "str(uuid.uuid4())"),
    "os.urandom": ("import os", "os.urandom(16).hex()"),
    "tempfile": ("import tempfile", "tempfile.NamedTemporaryFile().name"),
    "mkdtemp": ("import tempfile", "tempfile.mkdtemp()"),
    "ssl.RAND_bytes": ("import ssl", "ssl.RAND_bytes(16).hex()"),
    "hashlib salt": ("import os, hashlib", "hashlib.blake2b(os.urandom(16)).hexdigest()"),
}


@pytest.mark.parametrize("prelude, expression", RANDOM.values(), ids=RANDOM)
def test_no_two_runs_have_the_same_numbers(server, prelude, expression):
    script = f"{prelude}\ndef main():\n    return {{'v': {expression}}}\n"
    values = [json.dumps(server.result(script)["v"]) for _ in range(RUNS)]
    assert len(set(values)) == RUNS, values


def test_openssl_after_many_runs_with_the_same_pid(server):
    """OpenSSL notices a fork by the pid, and each run's pid is the same in its own pid namespace."""
    script = "import ssl, os\ndef main():\n    return {'r': ssl.RAND_bytes(8).hex(), 'pid': os.getpid()}\n"
    values = [server.result(script)["r"] for _ in range(20)]
    assert len(set(values)) == len(values)


@pytest.mark.parametrize("what", ("hash('x')", "id(object())"))
def test_recycling_gives_a_new_hash_seed_and_address_layout(start_server, mode, what):
    server = start_server("--recycle-runs", "3", user=mode == "user")
    script = f"def main():\n    return {{'v': {what}}}\n"
    seen = set()

    def changed():
        seen.add(server.result(script)["v"])
        return len(seen) >= 3

    wait_until(changed, f"three values of {what}")


def test_recycling_loses_no_request(start_server, mode):
    server = start_server("--recycle-runs", "2", user=mode == "user")
    for number in range(40):
        assert server.result(f"def main():\n    return {{'n': {number}}}\n") == {"n": number}


# The process that the script finds itself in.


def test_ids_of_process_and_threads_agree(server):
    """After a raw clone glibc's cached thread id would be the zygote's."""
    result = server.result(
        """
        import os, threading
        def main():
            seen = []
            thread = threading.Thread(target=lambda: seen.append(threading.get_native_id()))
            thread.start()
            thread.join()
            return {"pid": os.getpid(), "main": threading.get_native_id(), "recorded": threading.main_thread().native_id,
                    "other": seen[0], "threads": threading.active_count(), "is_main": threading.current_thread() is threading.main_thread()}
        """
    )
    assert result["pid"] == result["main"] == result["recorded"]
    assert result["other"] > 0 and result["other"] != result["pid"]
    assert (result["threads"], result["is_main"]) == (1, True)
    if "namespaces" in server.layers:
        assert result["pid"] < 100, "a pid namespace of its own"


def test_signals_reach_the_right_thread(server):
    """raise() and pthread_kill() use the cached thread id."""
    result = server.result(
        """
        import signal, threading
        def main():
            seen = []
            signal.signal(signal.SIGUSR1, lambda number, frame: seen.append(number))
            signal.raise_signal(signal.SIGUSR1)
            signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)
            return {"n": len(seen)}
        """
    )
    assert result == {"n": 2}


def test_locks_and_thread_state_work(server):
    result = server.result(
        """
        import queue, threading, concurrent.futures
        def main():
            lock = threading.RLock()
            with lock, lock:
                pass
            with concurrent.futures.ThreadPoolExecutor(8) as pool:
                return {"sum": sum(pool.map(lambda n: n * n, range(100)))}
        """
    )
    assert result == {"sum": 328350}


def test_open_descriptors_are_0_to_3(server):
    result = server.result(
        """
        import os, stat
        def main():
            found = {}
            for fd in range(4096):
                try:
                    found[fd] = stat.S_IFMT(os.fstat(fd).st_mode)
                except OSError:
                    pass
            return {"fds": list(found), "directories": [fd for fd, kind in found.items() if stat.S_ISDIR(kind)],
                    "sockets": [fd for fd, kind in found.items() if stat.S_ISSOCK(kind)]}
        """
    )
    assert result == {"fds": [0, 1, 2, 3], "directories": [], "sockets": []}


def test_stdin_cannot_be_written_and_output_cannot_be_read(server):
    result = server.result(
        """
        import os
        def attempt(call, *args):
            try:
                call(*args)
            except OSError as error:
                return "error"
            return "ok"
        def main():
            return {"write 0": attempt(os.write, 0, b"x"), "read 1": attempt(os.read, 1, 1), "read 2": attempt(os.read, 2, 1),
                    "read 3": attempt(os.read, 3, 1)}
        """,
        stdin="data",
    )
    assert set(result.values()) == {"error"}, result


def test_signal_dispositions_are_a_fresh_pythons(server):
    result = server.result(
        """
        import signal
        def main():
            ignored = sorted(s.name for s in signal.valid_signals() if isinstance(s, signal.Signals) and signal.getsignal(s) is signal.SIG_IGN)
            handled = sorted(s.name for s in signal.valid_signals() if isinstance(s, signal.Signals) and callable(signal.getsignal(s))
                             and signal.getsignal(s) not in (signal.SIG_IGN, signal.SIG_DFL))
            blocked = sorted(int(s) for s in signal.pthread_sigmask(signal.SIG_BLOCK, []))
            return {"ignored": ignored, "handled": handled, "blocked": blocked, "wakeup": signal.set_wakeup_fd(-1)}
        """
    )
    assert set(result["ignored"]) <= {"SIGPIPE", "SIGXFSZ", "SIGXFZ"}
    assert set(result["handled"]) <= {"SIGINT"}
    assert (result["blocked"], result["wakeup"]) == ([], -1)


def test_a_forked_child_that_returns_reports_nothing(server):
    script = """
        import os
        def main():
            child = os.fork()
            if child == 0:
                return {"who": "child"}
            _, status = os.waitpid(child, 0)
            return {"who": "parent"}
    """
    record = server.run(script)
    if server.can_fork:
        assert (record["status"], record["result"]) == ("ok", {"who": "parent"}), record["error"]
    else:
        assert record["status"] in ("script_error", "process_limit")


def test_a_forked_child_that_outlives_its_parent_reports_nothing(server):
    if not server.can_fork:
        pytest.skip("no fork in this jail")
    record = server.run("import os, time\ndef main():\n    if os.fork() == 0:\n        time.sleep(0.2)\n        return {'who': 'child'}\n    os._exit(7)\n")
    assert record["status"] == "exited"
    assert record["result"] is None


# The place.


def test_arguments_file_and_directory(server):
    result = server.result(
        """
        import os, sys
        def main():
            return {"argv": sys.argv, "file": os.path.basename(__file__), "cwd": os.getcwd(), "home": os.environ.get("HOME"),
                    "modules": [name for name in ("bootstrap", "_safe_script") if hasattr(sys.modules.get("script"), name)],
                    "module": sys.modules["script"].main is main, "doc": __doc__}
        """
    )
    assert len(result["argv"]) == 1 and result["argv"][0].endswith("script.py")
    assert result["file"] == "script.py"
    assert result["home"] == result["cwd"]
    if "root" in server.layers:
        assert result["cwd"] == "/box/work"
    assert (result["modules"], result["module"], result["doc"]) == ([], True, None)


ENVIRONMENT = {"HOME", "PATH", "LANG", "LC_ALL", "LC_CTYPE", "TMPDIR", "TZ", "USER", "LOGNAME", "PWD", "SHELL", "PYTHONHASHSEED",
               "PYTHONUTF8", "MPLCONFIGDIR", "MPLBACKEND", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "XDG_CACHE_HOME"}


def test_the_servers_environment_is_not_the_scripts(start_server, mode):
    server = start_server(env={"API_KEY": "very-secret", "LD_LIBRARY_PATH": "/nowhere", "PYTHONPATH": "/nowhere"}, user=mode == "user")
    script = "import os\ndef main():\n    return {'keys': list(os.environ), 'values': list(os.environ.values())}\n"
    result = server.result(script)
    assert set(result["keys"]) <= ENVIRONMENT, set(result["keys"]) - ENVIRONMENT
    assert "very-secret" not in result["values"]


def test_sys_path_shows_nothing_of_the_host(server):
    result = server.result("import sys, os\ndef main():\n    return {'p': sys.path, 'flags': list(sys.flags), 'home': os.path.expanduser('~root')}\n")
    assert all(isinstance(path, str) and not path.startswith(("/root", "/home", "/tmp")) for path in result["p"])


def test_nothing_is_printed_by_us(server):
    record = server.run("def main():\n    return {}\n")
    assert (record["stdout"], record["stderr"]) == ("", "")


def test_buffered_output_arrives_once(server):
    """What is in a buffer when the process is cloned is written by both; what is there at the end must be flushed."""
    record = server.run("import sys\nsys.stdout.write('a')\nsys.stderr.write('b')\ndef main():\n    sys.stdout.write('c')\n    return {}\n")
    assert (record["stdout"], record["stderr"]) == ("ac", "b")


# What one run leaves in the interpreter is not there in the next.

VANDAL = """
import builtins, json, os, random, signal, sys, tempfile, types, warnings
for place in (".", "/tmp", "/dev/shm", "/box", tempfile.gettempdir()):
    try:
        open(os.path.join(place, "left-behind"), "w").write("x")
    except OSError:
        pass
def main():
    json.dumps = lambda *a, **k: "patched"
    builtins.left_behind = 1
    builtins.print = lambda *a: None
    sys.modules["left_behind"] = types.ModuleType("left_behind")
    sys.modules["math"] = types.ModuleType("math")
    sys.path.append("/left-behind")
    os.environ["LEFT_BEHIND"] = "1"
    random.seed(1)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.setrecursionlimit(5000)
    os.umask(0)
    return {"done": True}
"""

VISITOR = """
import builtins, json, math, os, signal, sys, tempfile
def main():
    print("heard")
    return {
        "json": json.dumps({"a": 1}), "builtins": hasattr(builtins, "left_behind"), "module": "left_behind" in sys.modules,
        "math": math.sqrt(4), "path": "/left-behind" in sys.path, "environ": "LEFT_BEHIND" in os.environ,
        "signal": signal.getsignal(signal.SIGTERM) == signal.SIG_DFL, "recursion": sys.getrecursionlimit(),
        "files": [p for p in (".", "/tmp", "/dev/shm", "/box", tempfile.gettempdir()) if os.path.exists(os.path.join(p, "left-behind"))],
        "listing": os.listdir("."),
    }
"""


def test_one_run_does_not_show_in_the_next(server):
    before = server.result(VISITOR)
    for _ in range(4):
        assert server.result(VANDAL) == {"done": True}
    for _ in range(6):
        answer = server.execute(VISITOR)
        assert answer.json == {"result": before, "stdout": "heard"}
    assert (before["json"], before["math"], before["files"], before["listing"]) == ('{"a": 1}', 2.0, [], [])
    assert not (before["builtins"] or before["module"] or before["path"] or before["environ"])


def test_the_clock_is_right(server):
    script = "import time\ndef main():\n    return {'now': time.time(), 'cpu': time.process_time()}\n"
    result = server.result(script)
    assert abs(result["now"] - time.time()) < 60
    assert result["cpu"] < 5, "process_time starts anew"
