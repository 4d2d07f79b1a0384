#!/usr/bin/env python3
"""CPython's own test suite, module by module, in the jail and outside of it: what does the jail cost an ordinary program?

  cpython.py [--again PATTERN] [MODULE…]

Both sides run the same script (suite.py) under the same interpreter with the same flags, as no user of the machine's, in an empty directory.
A module is compared when it passes outside with at least one test; it holds when it passes inside. What was measured is kept in
build/cpython, so that a run that was ended goes on where it was; results from inside are measured anew once the build is newer.
Prints the table and exits 1 when fewer than 95 % hold, or when a module was lost that reasons.txt does not name.

Environment: SAFE_SCRIPT_BUILD (default build), JOBS (modules at once, default: cores, at most 4), SECONDS (for one
module, default 300)."""
import concurrent.futures
import fnmatch
import http.client
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
TOP = HERE.parents[1]
BUILD = pathlib.Path(os.environ.get("SAFE_SCRIPT_BUILD", TOP / "build")).resolve()
KEPT = TOP / "build" / "cpython"
PYTHON = "/usr/bin/python3"
JOBS = int(os.environ.get("JOBS", min(4, os.cpu_count() or 1)))
TARGET = 95.0

SECONDS = int(os.environ.get("SECONDS", 300))  # for one module, on either side
LIMITS = {"wall_ms": f"{SECONDS}s", "cpu_ms": "600s", "memory_bytes": "8GiB", "processes": "400", "output_bytes": "8MiB", "disk_bytes": "8GiB", "inodes": "100000",
          "open_files": "1024", "result_bytes": "8MiB"}  # fmt: skip
NOBODY = 65534
SUITE = (HERE / "suite.py").read_text()

# Outside, suite.py is as in the jail: a module `script` that is not __main__.
OUTSIDE = """
import json, sys, types
script = sys.modules["script"] = types.ModuleType("script")
source, asked, out = sys.argv[1:]
sys.argv = ["script.py"]
exec(compile(source, "script.py", "exec"), vars(script))
value = script.main(json.loads(asked))
with open(out, "w") as file:
    json.dump(value, file)
    file.flush()
import os
os._exit(0)  # as a run: nothing waits for threads that a test left
"""


def modules():
    found = subprocess.run([PYTHON, "-I", "-c", "import test.libregrtest, os; print(os.path.dirname(test.__file__))"],
                           capture_output=True, text=True)  # fmt: skip
    if found.returncode:
        sys.exit(f"cpython.py: {PYTHON} has no test package: install libpython3.N-testsuite")
    names = {name.removesuffix(".py") for name in os.listdir(found.stdout.strip()) if name.startswith("test_")}
    return sorted(name for name in names if "." not in name)


started = set()  # processes of run_outside()


def run_outside(module):
    options = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
    with tempfile.TemporaryDirectory(prefix="cpython-", ignore_cleanup_errors=True) as top:
        os.chmod(top, 0o755)
        for name in ("work", "tmp", "out"):
            os.mkdir(f"{top}/{name}")
            if options:
                os.chown(f"{top}/{name}", NOBODY, NOBODY)
        environment = {"HOME": f"{top}/work", "TMPDIR": f"{top}/tmp", "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}
        command = [PYTHON, "-I", "-B", "-X", "utf8", "-c", OUTSIDE, SUITE, json.dumps({"module": module}), f"{top}/out/result"]
        with open(f"{top}/log", "wb+") as log:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=f"{top}/work", env=environment,
                                       start_new_session=True, **options)  # fmt: skip
            started.add(process)
            try:
                code = process.wait(SECONDS)
            except subprocess.TimeoutExpired:
                code = "time"
            started.discard(process)
            try:
                os.killpg(process.pid, 9)
            except ProcessLookupError:
                pass
            process.wait()
            log.seek(max(0, log.tell() - 4000))
            tail = log.read()[-4000:].decode(errors="replace")
        try:
            result = json.loads(pathlib.Path(f"{top}/out/result").read_text())
        except (OSError, ValueError):
            result = None
    return {"status": "ok" if result else f"ended: {code}", "result": result, "denied": [], "output": "" if result else tail}


class Connection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost")
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.path)


class Jail:
    """A server of our own, with limits that the suite does not reach."""

    def __init__(self):
        self.directory = tempfile.mkdtemp(prefix="cpython-jail-")
        self.address = f"{self.directory}/socket"
        command = [BUILD / "safe-script", "serve", "--listen", f"unix:{self.address}", "--python", PYTHON, "--concurrency", str(JOBS), "--log-format", "text"]
        for name, value in LIMITS.items():
            command += [f"--limits.{name}", value]
        self.log = open(f"{self.directory}/log", "wb+")
        environment = {name: value for name, value in os.environ.items() if not name.startswith("SAFE_SCRIPT_")}
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, env=environment)
        while self.process.poll() is None and self.ask("GET", "/readyz") != 200:
            time.sleep(0.1)
        if self.process.poll() is not None:
            sys.exit(f"cpython.py: the server did not start: {pathlib.Path(self.log.name).read_text()}")

    def ask(self, method, path, body=None):
        connection = Connection(self.address)
        try:
            connection.request(method, path, body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            text = answer.read()
            return json.loads(text) if body and answer.status == 200 else answer.status
        except OSError:
            return None
        finally:
            connection.close()

    def run(self, module):
        record = self.ask("POST", "/v1/runs", json.dumps({"script": SUITE, "input": {"module": module}}))
        if not isinstance(record, dict):
            sys.exit(f"cpython.py: {module}: the server answered {record}")
        error = record["error"] or {}
        return {"status": record["status"], "result": record["result"], "denied": record["denied"],
                "output": "" if record["result"] else f"{error.get('message')}\n{error.get('traceback')}\n{record['stderr'][-3000:]}"}  # fmt: skip

    def close(self):
        self.process.terminate()
        self.process.wait()
        self.log.close()
        shutil.rmtree(self.directory, ignore_errors=True)


def passes(found):
    return bool(found["result"] and found["result"]["passed"] and not found["result"]["bad"])


def lost(outside, inside):
    """Tests that pass outside and fail inside, and what else failed only there (a class's setting up, the module itself). All of them
    where a module does not come to its end, or skips itself. That a single test skips itself inside is no loss, as CPython counts."""
    result, passed = inside["result"], set(outside["result"]["passed"])
    if not result or not result["passed"]:
        return passed
    elsewhere = set(outside["result"]["left_out"] + outside["result"]["skipped"])
    return set(result["bad"]) - elsewhere


class Side:
    """One side's results, kept from run to run."""

    def __init__(self, name, run, newer_than=0.0):
        self.directory, self.run, self.newer_than = KEPT / name, run, newer_than
        self.directory.mkdir(parents=True, exist_ok=True)

    def kept(self, module):
        path = self.directory / module
        try:
            return json.loads(path.read_text()) if path.stat().st_mtime > self.newer_than else None
        except (OSError, ValueError):
            return None

    def measure(self, module):
        """A module that fails is tried once more: the machine may have been busy."""
        found = self.kept(module)
        if found is None:
            started = time.monotonic()
            found = self.run(module)
            if not passes(found) and found["status"] not in ("ended: time", "time_limit"):
                found = self.run(module)
            found["seconds"] = round(time.monotonic() - started, 1)
            part = self.directory / f".{module}"
            part.write_text(json.dumps(found))
            part.rename(self.directory / module)
        return found


def kind_of(outside):
    """What a module's run outside makes of it."""
    result = outside["result"]
    if passes(outside):
        return "compared"
    if not result or result["bad"]:
        return "fails outside"
    return "needs what a jail refuses" if result["left_out"] else "skips itself outside"


def rows():
    """reasons.txt: {module: (kind, reason)}"""
    lines = (HERE / "reasons.txt").read_text().splitlines()
    return {module: (kind, reason) for module, kind, reason in (line.split(None, 2) for line in lines if line and not line.startswith("#"))}


def why(outside, inside):
    result = inside["result"]
    if not result:
        return f"{inside['status']}: {inside['output'].strip()[-300:]}"
    if result["whole"]:
        return f"skips itself: {result['whole']}"
    bad = sorted(lost(outside, inside))
    return f"{len(bad)} of {len(outside['result']['passed'])} tests, as {bad[0]}: {result['bad'].get(bad[0])}"


def report(found):
    """Prints the table; returns whether the promise holds."""
    kinds, gone, known = {}, [], rows()
    tests = {"outside": 0, "inside": 0, "left out": 0}
    for module, (outside, inside) in sorted(found.items()):
        kind = kind_of(outside)
        if kind == "compared" and known.get(module, ("",))[0] == "nature":
            kind = "needs what a jail refuses"
        kinds.setdefault(kind, []).append(module)
        if kind != "compared":
            continue
        before, after = set(outside["result"]["passed"]), set((inside["result"] or {"passed": ()})["passed"])
        tests["outside"] += len(before)
        tests["inside"] += len(before & after)
        tests["left out"] += len(outside["result"]["left_out"])
        if lost(outside, inside):
            gone.append(module)
            print(f"LOST  {module}: {known.get(module, ('', 'no reason is known'))[1]}\n      {why(outside, inside)}")
    compared = len(kinds.get("compared", []))
    for kind, names in sorted(kinds.items()):
        print(f"{len(names):4} modules: {kind}" + ("" if kind == "compared" else ": " + " ".join(names)))
    share = 100 * (compared - len(gone)) / max(1, compared)
    print(f"{compared - len(gone)} of {compared} compared modules pass in the jail: {share:.1f} % (promised: {TARGET:.0f} %)")
    print(f"{tests['inside']} of the {tests['outside']} tests in them that pass outside; {tests['left out']} more are left out on both sides")
    new = [module for module in gone if module not in known]
    if new:
        print(f"without a reason in reasons.txt: {' '.join(new)}")
    return share >= TARGET and not new


def main(arguments):
    again = None
    if arguments[:1] == ["--again"]:
        again, arguments = arguments[1], arguments[2:]
    wanted = arguments or modules()
    built = max((BUILD / part).stat().st_mtime for part in ("safe-script", "safe-script-http", "_safe_script.abi3.so", "bootstrap.py"))
    jail = Jail()

    def stop(*_):
        for process in list(started):
            os.killpg(process.pid, signal.SIGKILL)
        jail.close()
        os._exit(1)  # what is being measured is lost, and nothing else

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    try:
        sides = Side("outside", run_outside), Side("inside", jail.run, built)
        for side in sides:
            for path in side.directory.iterdir():
                if again and fnmatch.fnmatch(path.name, again):
                    path.unlink()

        def both(module):
            return module, tuple(side.measure(module) for side in sides)

        found = {}
        with concurrent.futures.ThreadPoolExecutor(JOBS) as pool:
            for module, pair in pool.map(both, wanted):
                found[module] = pair
                marks = ["ok" if passes(each) else "--" for each in pair]
                print(f"{len(found):4}/{len(wanted)}  {marks[0]} outside {pair[0]['seconds']:6.1f} s  {marks[1]} inside {pair[1]['seconds']:6.1f} s  {module}", file=sys.stderr, flush=True)
    finally:
        jail.close()
    return 0 if report(found) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
