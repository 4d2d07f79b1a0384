"""What the API tests share: a real server in a process of its own, HTTP to it, and a look at what it leaves behind.

Nothing here knows how the server works inside; it speaks HTTP, reads /proc and sends signals, as an operator would.

Environment:
  SAFE_SCRIPT_BUILD        the build directory (default: <repository>/build)
  SAFE_SCRIPT_TEST_PYTHON  an interpreter to test instead of the server's default (passed as --python)
  SAFE_SCRIPT_TEST_FLAGS   what serve needs in this place, as --walls 1
  SAFE_SCRIPT_TEST_START   a command that starts the server's command line
"""
import base64
import concurrent.futures
import contextlib
import ctypes
import fcntl
import glob
import http.client
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import textwrap
import time
from typing import NamedTuple

import openapi

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("SAFE_SCRIPT_BUILD", REPOSITORY / "build")).resolve()
PYTHON = os.environ.get("SAFE_SCRIPT_TEST_PYTHON")
FLAGS = os.environ.get("SAFE_SCRIPT_TEST_FLAGS", "").split()
START = os.environ.get("SAFE_SCRIPT_TEST_START", "").split()
PARTS = ("safe-script", "safe-script-http", "safe-script-tls", "safe-script-run", "safe-script-launch", "nsjail.cfg", "_safe_script.abi3.so", "bootstrap.py")

IS_ROOT = os.geteuid() == 0
MODES = ("root", "user") if IS_ROOT else ("user",)
NOBODY = "65534"

PATIENCE = 60  # seconds that anything may take on a busy machine; only ever waited out when something is wrong
STOPPING = 60  # seconds within which SIGTERM must have ended an idle server, on a busy machine

LONG = ("--limits.wall_ms", "120s", "--limits.cpu_ms", "120s")  # for runs that a test ends itself
HELLO = 'def main():\n    return {"message": "hello"}\n'
KIB, MIB = 1 << 10, 1 << 20


class Answer(NamedTuple):
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def error(self):
        """The one-line error of the small face; asserts that the body is exactly that."""
        value = json.loads(self.body)
        assert list(value) == ["error"], self.body
        assert isinstance(value["error"], str) and value["error"], self.body
        assert "\n" not in value["error"], self.body
        return value["error"]


class Process(NamedTuple):
    pid: int
    parent: int
    state: str
    name: str
    ticks: int
    started: int


def wait_until(condition, what, seconds=PATIENCE):
    """Polls until condition() is true and returns its value; fails naming `what`."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f"waited {seconds} s in vain for: {what}"
        time.sleep(0.05)


def background(function, *args, **options):
    """Runs function in a thread; .result(PATIENCE) gives its value or raises what it raised."""
    pool = concurrent.futures.ThreadPoolExecutor(1)
    future = pool.submit(function, *args, **options)
    pool.shutdown(wait=False)
    return future


def ports():
    """Ports that no other tests on this machine get: a block is whose abstract socket it is. Below those that the kernel gives away."""
    while True:
        block = random.randrange(10000, 32000, 200)
        claim = socket.socket(socket.AF_UNIX)  # held until this process ends
        try:
            claim.bind(f"\0safe-script-tests-{block}")
        except OSError:
            claim.close()
            continue
        _claims.append(claim)
        yield from range(block, block + 200)


_claims, _ports = [], ports()


def free_port():
    while True:
        port = next(_ports)
        with socket.socket() as probe:
            try:
                probe.bind(("0.0.0.0", port))
            except OSError:
                continue
        return port


def spin(seconds):
    """A script that computes for some seconds and then returns {"done": True}."""
    return (
        "import time\n"
        "def main():\n"
        f"    end = time.monotonic() + {seconds}\n"
        "    while time.monotonic() < end:\n"
        "        pass\n"
        '    return {"done": True}\n'
    )


# A run that can be told from all others by its number of threads; it prints "one" and stays.
MANY_THREADS = """
import threading, time
def main():
    for _ in range(29):
        threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()
    print("one")
    time.sleep(1000)
"""


def process_of_many_threads(server):
    def found():
        for process in server.children():
            try:
                if len(os.listdir(f"/proc/{process.pid}/task")) == 30:
                    return process
            except OSError:
                pass
        return None

    return wait_until(found, "a run with its threads")


# ── processes ──────────────────────────────────────────────────────────────────────────────────────────────────────


def become_subreaper():
    """Orphans of the servers become our children, so none can be overlooked (prctl PR_SET_CHILD_SUBREAPER)."""
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)


def place_of_own(directory):
    """Mounts and temporary directories of this process's own, below `directory`, so that others' tests at the same time are not taken for ours.
    Shared with nobody outside, but among what we start: a mount that a server lets out would still be seen."""
    libc = ctypes.CDLL(None, use_errno=True)

    def call(name, *args):
        if getattr(libc, name)(*args):
            raise OSError(ctypes.get_errno(), f"{name}{args}")

    call("unshare", 0x00020000)  # CLONE_NEWNS
    for propagation in (1 << 18, 1 << 20):  # MS_PRIVATE, MS_SHARED
        call("mount", None, b"/", None, ctypes.c_ulong(propagation | 0x4000), None)  # MS_REC
    kept = {path: os.open(path, os.O_PATH) for path in {str(REPOSITORY), str(BUILD)} if path.startswith(("/tmp/", "/var/tmp/"))}
    places = {}
    for path in ("/tmp", "/var/tmp"):
        own = directory / path.replace("/", "-")
        own.mkdir(parents=True)
        own.chmod(0o1777)
        places[path] = os.open(own, os.O_PATH)
    for path, source in (*places.items(), *sorted(kept.items())):
        os.makedirs(path, exist_ok=True)
        call("mount", f"/proc/self/fd/{source}".encode(), path.encode(), None, ctypes.c_ulong(1 << 12 | 1 << 14), None)  # MS_BIND, MS_REC
        os.close(source)
    call("mount", b"tmpfs", b"/dev/shm", b"tmpfs", ctypes.c_ulong(0), b"mode=1777")
    os.chdir(os.getcwd())


def processes():
    table = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            text = pathlib.Path("/proc", entry, "stat").read_text(errors="replace")
        except OSError:
            continue
        name, fields = text[text.index("(") + 1 : text.rindex(")")], text[text.rindex(")") + 2 :].split()
        ticks = int(fields[11]) + int(fields[12])
        table[int(entry)] = Process(int(entry), int(fields[1]), fields[0], name, ticks, int(fields[19]))
    return table


def descendants(pid):
    """Living processes below pid, not pid itself."""
    table, found, parents = processes(), [], {pid}
    while parents:
        children = [process for process in table.values() if process.parent in parents]
        found += [process for process in children if process.state not in "ZX"]
        parents = {process.pid for process in children}
    return found


def alive(process):
    now = processes().get(process.pid)
    return now is not None and now.started == process.started and now.state not in "ZX"


def command_of(pid):
    """A process's arguments: its name may be a descriptor's number where it was started by fexecve()."""
    try:
        return pathlib.Path("/proc", str(pid), "cmdline").read_bytes().split(b"\0")
    except OSError:
        return [b""]


def is_python(process):
    """A zygote, or a run, which is its clone."""
    return process.name.startswith("python") or any(part.endswith(b"bootstrap.py") for part in command_of(process.pid))


def pid_depth(pid):
    """How many pid namespaces deep a process is, as we see it; 0 when it has gone."""
    try:
        for line in pathlib.Path("/proc", str(pid), "status").read_text().splitlines():
            if line.startswith("NSpid:"):
                return len(line.split()) - 1
    except OSError:
        pass
    return 0


# ── what a server may not leave behind ─────────────────────────────────────────────────────────────────────────────


def mounts():
    with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as lines:
        return {" ".join(line.split()[2:5]) for line in lines}


def temporary_files():
    patterns = ("/tmp/safe-script*", "/dev/shm/safe-script*", "/run/safe-script*", "/var/tmp/safe-script*")
    return {path for pattern in patterns for path in glob.glob(pattern)}


def cgroup_directories(pid):
    name = f"safe-script-{pid}"
    return {
        os.path.join(top, name) for top, directories, _ in os.walk("/sys/fs/cgroup") for each in directories if each == name
    }


class Traces:
    """A picture of the machine from before a server was started."""

    running = {}  # pid → Server, of all servers that have not ended

    def __init__(self):
        self.mounts, self.files = mounts(), temporary_files()

    @classmethod
    def orphans(cls):
        """Living processes that some server left to us; dead ones are reaped."""
        left = []
        for process in processes().values():
            if process.parent != os.getpid() or process.pid in cls.running:
                continue
            if process.state in "ZX":
                try:
                    os.waitpid(process.pid, os.WNOHANG)
                except ChildProcessError:
                    pass
            else:
                left.append(process)
        return left

    def left_by(self, pid, tree):
        """Everything that is there now because of the server `pid` with the processes `tree`, as readable strings."""
        left = [f"process {process}" for process in tree if alive(process)]
        left += [f"orphan {process}" for process in self.orphans()]
        left += [f"cgroup {path}" for path in cgroup_directories(pid)]
        left += [f"mount {line}" for line in mounts() - self.mounts]
        others = set(self.running) - {pid}  # whose boxes do not say whose they are
        left += [f"file {path}" for path in temporary_files() - self.files if not (others and "/safe-script-box-" in path)]
        return left

    def assert_clean(self, pid, tree):
        end = time.monotonic() + STOPPING
        while self.left_by(pid, tree):
            assert time.monotonic() < end, f"left behind: {self.left_by(pid, tree)}"
            time.sleep(0.1)


# ── a connection, byte by byte ─────────────────────────────────────────────────────────────────────────────────────


class Event(NamedTuple):
    name: str
    id: int
    data: dict


class Stream:
    """A text/event-stream answer, event by event; what is not one is an AssertionError."""

    def __init__(self, connection):
        self.connection, self.response = connection, connection.getresponse()
        self.status, self.headers = self.response.status, self.response.headers
        if self.headers.get("Content-Type") == "text/event-stream":
            openapi.document(BUILD).check(*connection.asked, self.status, self.headers, b"")
        self.comments = self.last = 0
        self.lines, self.part, self.ended = [], b"", False

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.response.close()
        self.connection.close()

    def line(self):
        """The next line; None at the end."""
        while not self.lines and not self.ended:
            try:
                data = self.response.read1(1 << 16)
            except http.client.IncompleteRead as error:
                raise ConnectionError("the stream ends within itself") from error
            *self.lines, self.part = (self.part + data).split(b"\n")
            self.lines.reverse()
            self.ended = not data
        assert self.lines or not self.part, self.part
        return self.lines.pop().decode() if self.lines else None

    def next(self):
        """The next event, None at the end. Comments before it are counted."""
        fields = {}
        while True:
            line = self.line()
            if line is None or (line == "" and fields):
                break
            if line.startswith(":"):
                assert not fields
                self.comments += 1
            elif line:
                name, value = line.split(": ", 1)
                assert name in ("event", "id", "data") and name not in fields, line
                fields[name] = value
        if not fields:
            return None
        event = Event(fields["event"], int(fields["id"]), json.loads(fields["data"]))
        assert event.id > self.last, "ids rise"
        self.last = event.id
        openapi.document(BUILD).check_event(event.name, fields["data"])
        return event

    def until(self, name):
        """Events up to the first of that name, which is the last of the list."""
        events = []
        while not events or events[-1].name != name:
            event = self.next()
            assert event, f"no {name} after {events}"
            events.append(event)
        return events

    def rest(self):
        return list(iter(self.next, None))


def text_of(events, name):
    """What a stream's events hold of stdout or stderr, put together."""
    return "".join(event.data["text"] for event in events if event.name == name)


class Wire:
    """One raw connection: send any bytes, read answers one by one, see whether the server closes it."""

    def __init__(self, connected):
        self.socket = connected
        self.stream = connected.makefile("rb")
        self.rest = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.stream.close()
        self.socket.close()

    def send(self, data):
        """Sends; a server that has already answered and closed is no error here: its answer is what counts."""
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass

    def answer(self, head=False):
        """The next answer, or None when the server closed the connection without one."""
        try:
            line = self.stream.readline(65536)
            if not line:
                return None
            version, status = line.split(None, 2)[:2]
            assert version.startswith(b"HTTP/1."), line
            headers = http.client.parse_headers(self.stream)
            empty = head or int(status) < 200 or int(status) in (204, 304)
            length = 0 if empty else int(headers.get("Content-Length", "0"))
            answer = Answer(int(status), headers, self.stream.read(length))
            if answer.status >= 200 and len(answer.body) == length:
                openapi.document(BUILD).check_any(*answer)
            return answer
        except ConnectionResetError:
            return None

    def closed(self, seconds=PATIENCE):
        """True when the server ends the connection; what came before that is in `rest`."""
        self.socket.settimeout(seconds)
        self.rest = b""
        try:
            while data := self.stream.read1(65536):
                self.rest += data
            return True
        except ConnectionResetError:
            return True
        except OSError:  # timed out, now or before
            return False


class CheckedResponse(http.client.HTTPResponse):
    """What it reads must be what the server's OpenAPI document says of the request."""

    asked = seen = None

    def read(self, amt=None):
        data = super().read(amt)
        self.seen = (self.seen or b"") + data
        if self.asked and self.isclosed():
            method, target = self.asked
            self.asked = None
            openapi.document(BUILD).check(method, target, self.status, self.headers, self.seen)
        return data


class Connection(http.client.HTTPConnection):
    response_class = CheckedResponse

    def putrequest(self, method, url, *args, **options):
        self.asked = method, url
        super().putrequest(method, url, *args, **options)

    def getresponse(self):
        response = super().getresponse()
        response.asked = self.asked
        return response


class SecureConnection(Connection, http.client.HTTPSConnection):
    """Checked like any other, by TLS."""


class UnixConnection(Connection):
    def __init__(self, path, timeout):
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


# ── the server ─────────────────────────────────────────────────────────────────────────────────────────────────────


class Server:
    def __init__(self, process, mode, address, log):
        self.process, self.mode, self.address, self.log = process, mode, address, log
        self.traces = None
        self.tls = None  # an ssl.SSLContext where the address speaks TLS
        self._layers = None
        Traces.running[process.pid] = self

    pid = property(lambda self: self.process.pid)

    @property
    def port(self):
        return self.address[1]

    # requests

    def connection(self, timeout=PATIENCE):
        if isinstance(self.address, str):
            return UnixConnection(self.address, timeout)
        if self.tls:
            return SecureConnection(*self.address, timeout=timeout, context=self.tls)
        return Connection(*self.address, timeout=timeout)

    def request(self, method, path, body=None, headers=None):
        connection = self.connection()
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    def post(self, path, body, content_type="application/json"):
        return self.request("POST", path, body, {"Content-Type": content_type})

    def execute(self, script, **options):
        """The small face, with options as JSON. (status, headers, body)"""
        return self.post("/execute", json.dumps({"script": textwrap.dedent(script), **options}))

    def execute_python(self, script):
        """The small face, with the source itself as the body."""
        return self.post("/execute", textwrap.dedent(script).encode(), "text/x-python")

    def execute_as(self, kind, script):
        return self.execute(script) if kind == "json" else self.execute_python(script)

    def result(self, script, **options):
        """The result of a script that must succeed on the small face."""
        answer = self.execute(script, **options)
        assert answer.status == 200, answer.body
        return answer.json["result"]

    def post_run(self, script, **options):
        return self.post("/v1/runs", json.dumps({"script": textwrap.dedent(script), **options}))

    def run(self, script, **options):
        """The run record; a run must have taken place."""
        answer = self.post_run(script, **options)
        assert answer.status == 200, (answer.status, answer.body)
        return answer.json

    def stream(self, script, headers=None, **options):
        """The events of a new run."""
        body = json.dumps({"script": textwrap.dedent(script), **options})
        return self.streamed("POST", "/v1/runs", body, {"Content-Type": "application/json", "Accept": "text/event-stream", **(headers or {})})

    def events(self, run, after=None):
        """The events of a run that there is, all or those after an id."""
        return self.streamed("GET", f"/v1/runs/{run}/events", None, {} if after is None else {"Last-Event-ID": str(after)})

    def streamed(self, method, path, body, headers):
        connection = self.connection()
        connection.request(method, path, body, headers)
        return Stream(connection)

    def start(self, script, **options):
        """The id of a run that was asked for asynchronously."""
        body = json.dumps({"script": textwrap.dedent(script), **options})
        answer = self.request("POST", "/v1/runs", body, {"Content-Type": "application/json", "Prefer": "respond-async"})
        assert answer.status == 202, (answer.status, answer.body)
        return answer.json["id"]

    def state(self, run):
        answer = self.request("GET", f"/v1/runs/{run}")
        assert answer.status == 200, (answer.status, answer.body)
        return answer.json

    def wait_over(self, run):
        """The record of an asynchronous run, once it is over."""
        return wait_until(lambda: (record := self.state(run))["status"] not in ("queued", "running") and record, f"the end of {run}")

    def delete(self, run):
        return self.request("DELETE", f"/v1/runs/{run}")

    def wire(self, timeout=PATIENCE):
        if isinstance(self.address, str):
            connected = socket.socket(socket.AF_UNIX)
            connected.settimeout(timeout)
            connected.connect(self.address)
        else:
            connected = socket.create_connection(self.address, timeout)
            if self.tls:
                connected = self.tls.wrap_socket(connected, server_hostname=self.address[0])
        return Wire(connected)

    def raw(self, data):
        """Sends bytes, reads one answer: (Answer or None, the server closed the connection)."""
        with self.wire() as wire:
            wire.send(data)
            answer = wire.answer()
            return answer, answer is None or (answer.headers.get("Connection", "").lower() == "close" and wire.closed())

    def assert_serves(self):
        answer = self.execute(HELLO)
        assert (answer.status, answer.body) == (200, b'{"result":{"message":"hello"},"stdout":""}')

    # what it says about itself

    @property
    def layers(self):
        """Names of the layers that hold for runs of this server."""
        if self._layers is None:
            self._layers = layer_names(self.run(HELLO))
        return self._layers

    @property
    def can_fork(self):
        """Where processes cannot be counted and killed as one, runs get threads only (DESIGN, layers)."""
        return {"cgroup", "namespaces"} <= set(self.layers)

    @property
    def has_tmpfs(self):
        """Else a run works in a directory that others' lie beside, and the supervisor's look at it is its limit (DESIGN, places)."""
        return "root" in self.layers

    @property
    def counts_threads(self):
        """Else runs share the server's uid, and the supervisor's look at a run is its limit of threads."""
        return "namespaces" in self.layers or self.mode == "root"

    def log_lines(self):
        text = self.log.read_text(errors="replace")
        return text[: text.rfind("\n") + 1].splitlines()  # the last may be under way

    def log_relay(self):
        """The process between the server and whoever reads its log."""
        found = [each for each in self.children() if each.name == "safe-script-log"]
        return found[0] if found else None

    def shrink_log(self):
        """Makes the server's room for log lines that nobody reads small, where we may; else it takes some 1,000 lines."""
        if IS_ROOT:
            with open(f"/proc/{self.log_relay().pid}/fd/0", "rb") as pipe:
                fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, 4096)

    # its processes

    def children(self):
        return descendants(self.pid)

    def front(self):
        found = [process for process in self.children() if b"safe-script-http" in command_of(process.pid)[0]]
        return found[0] if found else None

    def zygotes(self):
        """Python processes in the supervisor's own pid namespace: runs are one deeper."""
        depth = pid_depth(self.pid)
        found = [each for each in self.children() if is_python(each) and pid_depth(each.pid) == depth]
        return found if "namespaces" in self.layers else sorted(found, key=lambda each: each.started)[:1]

    def busy(self, ticks=20, seconds=0.5):
        """Processes of ours that computed for at least `ticks` (1/100 s) in the last moments."""
        before = {process.pid: process.ticks for process in self.children()}
        time.sleep(seconds)
        return [process for process in self.children() if process.ticks - before.get(process.pid, process.ticks) >= ticks]

    def wait_busy(self):
        """Waits for a spinning run and returns its process. It may have as little of a core as a busy machine leaves."""
        depth = pid_depth(self.pid)

        def computing():
            runs = [each for each in self.children() if is_python(each) and pid_depth(each.pid) > depth]
            return [each for each in runs if each.ticks >= 10] or self.busy(ticks=5)

        return wait_until(computing, "a run that computes")[0]

    @contextlib.contextmanager
    def occupied(self):
        """One place is taken, by a run that computes until the block ends or the function that it gets is called. The
        server's limits must let it (LONG)."""
        body = json.dumps({"script": spin(110)}).encode()
        with self.wire() as wire:
            wire.send(b"POST /execute HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            self.wait_busy()
            yield wire.close

    # its life

    def is_ready(self):
        try:
            return self.request("GET", "/readyz").status == 200
        except (OSError, http.client.HTTPException):
            return False

    def wait_ready(self):
        def ready():
            assert self.process.poll() is None, f"exit status {self.process.returncode}:\n{self.log.read_text()}"
            return self.is_ready()

        wait_until(ready, "GET /readyz → 200")
        return self

    def wait_exit(self, seconds=STOPPING):
        try:
            return self.process.wait(seconds)
        finally:
            if self.process.returncode is not None:
                Traces.running.pop(self.pid, None)

    def stop(self):
        """SIGTERM, and then nothing may be left."""
        if self.process.returncode is not None:
            return
        if self.process.poll() is not None:
            Traces.running.pop(self.pid, None)
            raise AssertionError(f"server died, exit status {self.process.returncode}:\n{self.log.read_text()}")
        tree = self.children()
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.wait_exit()
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.wait_exit()
            raise AssertionError(f"SIGTERM did not end it within {STOPPING} s:\n{self.log.read_text()[-4000:]}") from None
        assert status == 0, f"exit status {status}:\n{self.log.read_text()[-4000:]}"
        self.traces.assert_clean(self.pid, tree)


def layer_names(record):
    return [layer if isinstance(layer, str) else layer["name"] for layer in record["jail"]["layers"]]


def copy_build():
    """The parts of the build where any user may read and run them; the caller removes the directory."""
    directory = pathlib.Path(tempfile.mkdtemp(prefix="api-tests-"))
    directory.chmod(0o755)
    for part in PARTS:
        shutil.copy(BUILD / part, directory / part)
        (directory / part).chmod(0o755)
    return directory


def environment(extra=None):
    """The tests' own environment without what the server reads settings from."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("SAFE_SCRIPT_") and key != "PORT"}
    clean["PATH"] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    return {**clean, **(extra or {})}


def command(build, mode, *args):
    """The command line of safe-script for one of MODES."""
    drop = ["setpriv", "--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"] if IS_ROOT and mode == "user" else []
    return [*START, *drop, str(build / "safe-script"), *map(str, args)]


def python_flag():
    return ["--python", PYTHON] if PYTHON else []


def base64_of(data):
    return base64.b64encode(data).decode()
