"""One server, every attack that it is to meet, and what became of each. Run as a program, by test_escape.py on the machine itself
or inside a container (container.py): `battery.py SPEC.json` reads {"build", "mode", "without", "attacks", "out"} and writes to
"out" {"layers", "walls", "classes", "attacks": {name: {"through": sign or null, "wrong": [what else is not right], "said": its result or error}}, "wrong": […]}."""
import concurrent.futures
import hashlib
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time
import traceback

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parents[1] / "api")]

import corpus  # noqa: E402
import harness  # noqa: E402

AT_ONCE, POOL = 6, 4
# Small limits, so that each attack soon meets them. A run that none stops must end within PATIENCE.
SETTINGS = (
    "--limits.wall_ms=8s", "--limits.cpu_ms=4s", "--limits.memory_bytes=64MiB", "--limits.processes=16", "--limits.disk_bytes=2MiB",
    "--limits.inodes=128", "--limits.open_files=64", "--limits.output_bytes=64KiB", f"--pool={POOL}", "--concurrency=12", "--log-level=warning",
)

# What a run finds; none may leave a trace in the next one's. Addresses, times and random numbers are left out.
CLEAN = """
import builtins, os, signal, sys, threading
def main():
    box = os.path.dirname(os.getcwd())
    clear = lambda text: text.replace(box, "BOX") if isinstance(text, str) else text
    return {
        "box": {name: os.listdir(box + "/" + name) for name in ("work", "tmp", "shm")},
        "environment": {name: clear(value) for name, value in os.environ.items()}, "path": [clear(path) for path in sys.path],
        "modules": sorted(sys.modules), "builtins": sorted(vars(builtins)), "threads": threading.active_count(), "arguments": sys.argv,
        "signals": [str(signal.getsignal(n)) for n in (1, 2, 13, 14, 15)], "masked": sorted(signal.pthread_sigmask(0, [])),
        "umask": os.umask(0o22), "tracing": str(sys.gettrace()), "recursion": sys.getrecursionlimit(),
    }
"""


class World:
    """What attacks aim at: a directory with a secret and a writable file, and the ids of the server's processes."""

    def __init__(self, directory):
        self.directory = directory
        self.secret = directory / "secret"
        self.secret.write_text("a secret of the host\n")
        self.writable = directory / "writable"
        self.writable.write_text("as it was\n")
        self.writable.chmod(0o666)

    def input(self, server):
        front, zygotes = server.front(), server.zygotes()
        return {
            "directory": str(self.directory), "secret": str(self.secret), "writable": str(self.writable), "server": server.pid,
            "front": front.pid if front else 0, "zygote": zygotes[0].pid if zygotes else 0, "uid": os.geteuid(),
        }

    def processes(self, server):
        """All of the server's, when the pool is full and nothing runs."""
        harness.wait_until(lambda: self.slots(server) == {"waiting": POOL}, "a full pool")
        return harness.descendants(server.pid)

    def slots(self, server):
        """How many jails are in each state; those that there are none in are left out."""
        lines = re.findall(r'^safe_script_slots\{state="(\w+)"\} ([1-9]\d*)$', server.request("GET", "/metrics").body.decode(), re.MULTILINE)
        return {state: int(number) for state, number in lines if state != "free"}

    def snapshot(self):
        """Every byte, mode and time of it, and of what all runs share."""
        shared = [pathlib.Path(os.__file__), pathlib.Path(json.__file__), pathlib.Path("/etc/hostname"), pathlib.Path("/usr/lib")]
        seen = {}
        for path in [*shared, *sorted(self.directory.rglob("*"))]:
            status = path.lstat()
            digest = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
            seen[str(path)] = (status.st_mode, status.st_uid, status.st_size, status.st_mtime_ns, digest)
        return seen


class Battery:
    def __init__(self, spec, directory):
        self.spec = spec
        self.attacks = {name: corpus.load()[name] for name in spec["attacks"]}
        self.results = {name: {"through": None, "wrong": []} for name in self.attacks}
        self.wrong = []
        self.log = directory / "log"
        for name in ("world", "socket"):
            (directory / name).mkdir()
            (directory / name).chmod(0o777)
        self.world = World(directory / "world")
        self.server = self.start(directory / "socket", pathlib.Path(spec["build"]), spec["mode"], spec["without"])

    def start(self, address, build, mode, without):
        flags = [f"--without={','.join(without)}"] if without else []
        traces = harness.Traces()
        with open(self.log, "wb") as log:
            process = subprocess.Popen(
                harness.command(build, mode, "serve", f"--listen=unix:{address}/socket", *SETTINGS, *harness.FLAGS, *flags),
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log, env=harness.environment(), cwd="/")
        server = harness.Server(process, mode, f"{address}/socket", self.log)
        server.traces = traces
        return server.wait_ready()

    # one attack

    def send(self, attack, extra):
        options = dict(attack.options)
        options["input"] = {**self.input, **extra}
        return self.server.run(attack.script, **options)

    def attempt(self, attack):
        """Its sign of success, or None; what is wrong beside it goes into its result."""
        if attack.request:
            return attack.request(self.server, self.world)
        around = attack.around(self.server, self.world) if attack.around else None
        try:
            record = self.send(attack, next(around) if around else {})
        except AssertionError as failure:
            return f"the answer is not what the server's own document says: {failure}"
        self.check_status(attack, record)
        sign = (record["result"] or {}).get("through") if record["status"] == "ok" else None
        self.results[attack.name]["said"] = str(record["result"] or record["error"])[:300]
        if around:
            try:
                around.send(record)
            except StopIteration as end:
                sign = end.value or sign
        return sign

    def check_status(self, attack, record):
        wrong = self.results[attack.name]["wrong"]
        if record["status"] == "lost":
            wrong.append(f"the run was lost: {record}")
        if not self.spec["without"] and record["status"] not in attack.statuses:
            wrong.append(f"right is {attack.right}, one of {attack.statuses}; the run ended so: {shown(record)}")

    def meet(self, attack):
        result = self.results[attack.name]
        began = time.monotonic()
        try:
            result["through"] = self.attempt(attack)
            self.check_next_run(result["wrong"])
        except Exception:
            result["wrong"].append(traceback.format_exc())
        result["seconds"] = round(time.monotonic() - began, 2)

    def check_next_run(self, wrong):
        record = self.server.run(CLEAN)
        if record["status"] != "ok" or record["result"] != self.clean:
            wrong.append(f"the next run is not clean: {shown(record)}, not {self.clean}")

    # between attacks, when nothing runs

    def check_quiet(self, wrong):
        """No process survives its run, and nothing outside has changed."""
        try:
            harness.wait_until(lambda: len(harness.descendants(self.server.pid)) <= self.processes and not harness.Traces.orphans(), "the end of every run")
        except AssertionError as failure:
            wrong.append(f"{failure}: {harness.descendants(self.server.pid)} {harness.Traces.orphans()}")
        now = self.world.snapshot()
        if now != self.before:
            changed = {path: (self.before.get(path), now.get(path)) for path in {*now, *self.before} if now.get(path) != self.before.get(path)}
            wrong.append(f"changed outside: {changed}")
            self.before = now

    def run(self):
        jail = self.server.request("GET", "/v1/jail").json
        self.walls = jail["walls"]
        self.input = self.world.input(self.server)
        self.clean = self.server.run(CLEAN)["result"]
        self.processes = len(self.world.processes(self.server))
        self.before = self.world.snapshot()
        together = [attack for attack in self.attacks.values() if not attack.alone]
        with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(self.meet, together))
        self.check_quiet(self.wrong)
        for attack in self.attacks.values():
            if attack.alone:
                self.meet(attack)
                self.check_quiet(self.results[attack.name]["wrong"])
        try:
            self.server.stop()
        except AssertionError as failure:
            self.wrong.append(str(failure))
        return {"walls": self.walls, "classes": jail["attacks"], "attacks": self.results, "wrong": self.wrong, "log": self.log.read_text(errors="replace")}


def shown(record):
    return {key: record[key] for key in ("status", "result", "error", "stdout", "stderr")}


def main(path):
    spec = json.loads(pathlib.Path(path).read_text())
    harness.become_subreaper()
    with tempfile.TemporaryDirectory(prefix="escape-world-", dir="/tmp") as directory:
        os.chmod(directory, 0o755)
        try:
            outcome = Battery(spec, pathlib.Path(directory)).run()
        except BaseException:
            outcome = {"failed": traceback.format_exc()}
    pathlib.Path(spec["out"]).write_text(json.dumps(outcome))


if __name__ == "__main__":
    main(sys.argv[1])
