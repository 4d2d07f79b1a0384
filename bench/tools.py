"""What the measurements share: the build, the machine, servers, the C programs that make load, and the figures of rounds."""
import contextlib
import http.client
import json
import os
import pathlib
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

TOP = pathlib.Path(__file__).resolve().parents[1]
PYTHON = "/usr/bin/python3"
CORES = len(os.sched_getaffinity(0))
# What a service manager gives: nothing of the caller's shell, which may slow an interpreter down.
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "HOME": "/"}


class Failed(Exception):
    """A measurement that could not be made, or whose answers were wrong."""


class Bench:
    """The build that is measured, and a directory for this measurement's files."""

    def __init__(self, build):
        self.build = pathlib.Path(build).resolve()
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="safe-script-bench-"))
        self.directory.chmod(0o755)

    def close(self):
        shutil.rmtree(self.directory)

    def file(self, name, text):
        path = self.directory / name
        path.write_text(text)
        path.chmod(0o644)
        return path

    def program(self, name, *arguments):
        """One of ours: what it prints, as JSON. Whatever answers were not as expected are a failure."""
        done = subprocess.run([*arguments], stdout=subprocess.PIPE, env=ENVIRONMENT, check=False)
        if done.returncode:
            raise Failed(f"{name}: status {done.returncode}: {done.stdout.decode()[:400]}")
        return json.loads(done.stdout)

    def load(self, address, **options):
        """Closed-loop HTTP load (load.c): its figures, and times as every latency in ms, in order of time."""
        return self._timed("load", [str(self.build / "bench/load")], options, [address])

    def start(self, command, prefix=(), **options):
        """Closed-loop starts of processes (starts.c)."""
        return self._timed("starts", [*prefix, str(self.build / "bench/starts")], options, ["--", *map(str, command)])

    def _timed(self, name, program, options, rest):
        times = self.directory / "times"
        flags = [part for key, value in options.items() for part in (f"--{key.replace('_', '-')}", str(value))]
        figures = self.program(name, *program, "--times", str(times), *flags, *rest)
        figures["times"] = [float(line) / 1000 for line in times.read_text().split()]
        return figures


# ---- servers ----


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def ask(port, method, path, body=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    with contextlib.closing(connection):
        connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
        answer = connection.getresponse()
        return answer.status, answer.read()


def get(port, path):
    return ask(port, "GET", path)


def post(port, path, body):
    return ask(port, "POST", path, body)


def wait_until(true, what, process, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(OSError):
            if true():
                return
        if process.poll() is not None:
            raise Failed(f"{what} ended with status {process.returncode}")
        time.sleep(0.02)
    raise Failed(f"{what} was not ready within {seconds} s")


@contextlib.contextmanager
def running(command, what, ready, log):
    """A server, from when ready() is true to the end of the block; its whole group goes then."""
    with open(log, "ab") as file:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, env=ENVIRONMENT, start_new_session=True)
    try:
        wait_until(ready, what, process)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


class Server:
    def __init__(self, process, port):
        self.process, self.port, self.address = process, port, f"127.0.0.1:{port}"


@contextlib.contextmanager
def safe_script(bench, *arguments):
    """safe-script serve as it is by default, but for the arguments."""
    port = free_port()
    command = [bench.build / "safe-script", "serve", "--listen", f"127.0.0.1:{port}", *arguments]
    with running(command, "safe-script", lambda: get(port, "/readyz")[0] == 200, bench.directory / "safe-script.log") as process:
        yield Server(process, port)


# ---- figures ----


def percentile(times, share):
    ordered = sorted(times)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


def figure(values):
    """The median of the rounds, and how far they lie apart."""
    return {"value": statistics.median(values), "least": min(values), "most": max(values), "rounds": len(values)}


def ratio(over, under):
    """Round by round: both were measured within seconds of each other, so the machine's mood divides out."""
    return figure([one / other for one, other in zip(over, under)])


def say(text):
    print(text, file=sys.stderr, flush=True)


def machine():
    model = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "?")
    return {
        "cores": CORES,
        "cpu": model,
        "kernel": os.uname().release,
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "python": subprocess.run([PYTHON, "-V"], capture_output=True, text=True, check=True).stdout.strip(),
        "load": os.getloadavg()[0],
    }
