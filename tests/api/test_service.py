"""What a service manager gives and is told: sockets that it has opened, readiness, reloads, the watchdog, the end."""
import contextlib
import fcntl
import os
import pathlib
import signal
import socket
import subprocess
import tempfile

import pytest

import harness
from harness import HELLO, PATIENCE, Traces, background, spin, wait_until

DONE = b'{"result":{"done":true},"stdout":""}'
WORD = b'{"result":{"message":"hello"},"stdout":""}'


class Manager:
    """A notification socket, as systemd's."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(path)
        self.path = path
        if not path.startswith("\0"):
            os.chmod(path, 0o777)
        self.heard = []

    @property
    def variable(self):
        return {"NOTIFY_SOCKET": self.path.replace("\0", "@")}

    def listen(self):
        with contextlib.suppress(BlockingIOError):
            while True:
                self.heard.append(self.socket.recv(4096, socket.MSG_DONTWAIT).decode())
        return self.heard

    def times(self, line):
        return sum(line in each.split("\n") for each in self.listen())

    def wait_for(self, line, times=1):
        wait_until(lambda: self.times(line) >= times, f"{line} ({times} times) from the server")


@pytest.fixture
def manager(public_dir):
    made = Manager(str(public_dir / "notify"))
    yield made
    made.socket.close()


@pytest.fixture
def activate(builds, tmp_path):
    """activate(sockets, mode, *args, names=…, count=…, pid=…) → Server that was given listening sockets."""
    started = []

    def start(sockets, mode, *args, env=None, names=None, count=None, pid="$$", ready=True):
        # Numbered from 3 on, by way of high numbers: a socket may have one of these itself.
        high = [fcntl.fcntl(each.fileno(), fcntl.F_DUPFD, 200) for each in sockets]
        moves = "".join(f" {3 + number}<&{fd} {fd}<&-" for number, fd in enumerate(high))
        line = harness.command(builds[mode], mode, "serve", *harness.python_flag(), *args)
        script = f'export LISTEN_PID={pid} LISTEN_FDS={len(sockets) if count is None else count}; exec "$@"{moves}'
        log = tmp_path / f"log-{len(started)}"
        traces = Traces()
        with open(log, "wb") as stderr:
            process = subprocess.Popen(
                ["bash", "-c", script, "bash", *line],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                env=harness.environment({**(env or {}), **({"LISTEN_FDNAMES": names} if names else {})}),
                cwd="/",
                pass_fds=high,
            )
        for fd in high:
            os.close(fd)
        address = sockets[0].getsockname() if isinstance(sockets[0], socket.socket) else None
        server = harness.Server(process, mode, address, log)
        server.traces = traces
        started.append(server)
        if ready:
            server.wait_ready()
        return server

    yield start
    for each in started:
        each.stop()


@contextlib.contextmanager
def listening(family=socket.AF_INET, address=("127.0.0.1", 0)):
    with socket.socket(family) as opened:
        opened.bind(address)
        opened.listen(100)
        yield opened


# ── words ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_ready_is_told_when_a_script_can_run(start_server, manager, mode):
    server = start_server(user=mode == "user", env=manager.variable, ready=False)
    manager.wait_for("READY=1")
    assert server.execute(HELLO).body == WORD
    server.stop()
    assert manager.times("READY=1") == 1
    assert manager.times("STOPPING=1") == 1


def test_an_abstract_notification_socket(start_server):
    manager = Manager(f"\0safe-script-test-{os.getpid()}")
    start_server(env=manager.variable, ready=False)
    manager.wait_for("READY=1")
    manager.socket.close()


def test_a_reload_is_told_from_beginning_to_end(start_server, manager, public_dir, mode):
    path = public_dir / "config.ini"
    path.write_text("[limits]\nwall_ms = 9s\n")
    server = start_server("--config", path, user=mode == "user", env=manager.variable)
    manager.wait_for("READY=1")
    for turn, text in enumerate(("[limits]\nwall_ms = 1s\n", "[limits]\nwall_ms = 1s\n", "nonsense\n")):
        path.write_text(text)
        os.kill(server.pid, signal.SIGHUP)
        manager.wait_for("RELOADING=1", turn + 1)
        manager.wait_for("READY=1", turn + 2)
        if turn == 0:  # ready again means: the new limits are in force
            answer = server.execute("import time\ndef main():\n    time.sleep(30)\n    return {}\n")
            assert answer.error == "time limit exceeded: 1 s"
    reloading = [each for each in manager.heard if each.startswith("RELOADING=1")]
    assert all("MONOTONIC_USEC=" in each for each in reloading)
    before = harness.time.clock_gettime_ns(harness.time.CLOCK_MONOTONIC) // 1000
    assert all(0 < int(each.split("MONOTONIC_USEC=")[1].split("\n")[0]) < before for each in reloading)


def test_the_watchdog_is_fed_while_the_supervisor_lives(start_server, manager):
    server = start_server(env={**manager.variable, "WATCHDOG_USEC": "400000"}, ready=False)
    manager.wait_for("WATCHDOG=1", 5)
    os.kill(server.pid, signal.SIGSTOP)
    try:
        manager.listen()
        fed = manager.times("WATCHDOG=1")
        harness.time.sleep(1.5)
        assert manager.times("WATCHDOG=1") == fed
    finally:
        os.kill(server.pid, signal.SIGCONT)
    manager.wait_for("WATCHDOG=1", fed + 2)


def test_no_watchdog_for_another_process(start_server, manager):
    server = start_server(env={**manager.variable, "WATCHDOG_USEC": "100000", "WATCHDOG_PID": "1"})
    harness.time.sleep(0.5)
    assert manager.times("WATCHDOG=1") == 0
    server.assert_serves()


@pytest.mark.parametrize("path", ("/no/such/socket", "relative", "", "@", "/" + "x" * 200))
def test_a_manager_that_is_not_there_is_no_error(start_server, path):
    start_server(env={"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "nonsense"}).assert_serves()


def test_a_manager_that_does_not_read_stops_nothing(start_server, manager):
    """Its socket's buffer fills with the watchdog's words."""
    server = start_server(env={**manager.variable, "WATCHDOG_USEC": "2000"})
    harness.time.sleep(2)
    server.assert_serves()


def test_runs_hear_nothing_of_the_manager(start_server, manager):
    server = start_server(env={**manager.variable, "LISTEN_FDS": "3", "LISTEN_PID": "1", "WATCHDOG_USEC": "60000000"})
    script = "import os\ndef main():\n    return {'names': [name for name in os.environ if 'NOTIFY' in name or 'LISTEN' in name or 'WATCHDOG' in name]}\n"
    assert server.result(script) == {"names": []}


# ── sockets ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_socket_that_was_passed_is_served(activate, mode):
    with listening() as opened:
        server = activate([opened], mode)
        assert server.execute(HELLO).body == WORD
        assert any(f"127.0.0.1:{opened.getsockname()[1]}" in line for line in server.log_lines())


def test_several_of_several_kinds(activate, mode, public_dir):
    path = str(public_dir / "socket")
    with listening() as first, listening(socket.AF_UNIX, path) as second, listening() as third:
        os.chmod(path, 0o777)
        server = activate([first, second, third], mode, names="web:local:more")
        server.assert_serves()
        with socket.create_connection(third.getsockname(), PATIENCE) as client:
            client.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert client.recv(100).startswith(b"HTTP/1.1 200")
        connection = harness.UnixConnection(path, PATIENCE)
        connection.request("GET", "/readyz")
        assert connection.getresponse().status == 200
        connection.close()
        server.stop()
        assert os.path.exists(path), "a socket that is the manager's stays"


def test_sockets_for_another_process_are_not_ours(start_server):
    start_server(env={"LISTEN_FDS": "1", "LISTEN_PID": "1"}).assert_serves()


def refused(activate, sockets, mode, *words, **options):
    server = activate(sockets, mode, ready=False, **options)
    assert server.wait_exit(PATIENCE) == 1
    said = server.log.read_text()
    assert all(word in said for word in words), said
    return said


def test_what_is_no_listening_socket_is_refused(activate, mode):
    with socket.socket() as unbound, listening() as good:
        refused(activate, [unbound], mode, "descriptor 3", "no listening socket")
        refused(activate, [good, unbound], mode, "descriptor 4")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        datagrams.bind(("127.0.0.1", 0))
        refused(activate, [datagrams], mode, "descriptor 3")
    one, other = socket.socketpair()
    refused(activate, [one], mode, "descriptor 3")
    one.close(), other.close()
    with tempfile.TemporaryFile() as file:
        refused(activate, [file], mode, "descriptor 3")


def test_more_than_we_take_and_ones_that_are_not_there(activate, mode):
    with listening() as opened:
        refused(activate, [opened], mode, "9 sockets", count=9)
        refused(activate, [opened], mode, "descriptor 4", count=2)


def get_in_line(address, script):
    """A connection that nobody has accepted yet, with its whole request."""
    client = socket.create_connection(address, PATIENCE)
    body = script.encode()
    client.sendall(b"POST /execute HTTP/1.1\r\nHost: x\r\nContent-Type: text/x-python\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(body) + body)
    return client


def answer_of(client):
    with harness.Wire(client) as wire:
        return wire.answer()


def test_connections_that_wait_on_the_socket_outlive_a_restart(activate, mode):
    """The upgrade: the manager holds the socket, the old server drains, the new one answers those that came between."""
    with listening() as opened:
        server = activate([opened], mode)
        flying = background(server.execute, spin(4))
        server.wait_busy()
        tree = server.children()
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: any('"stopping"' in line for line in server.log_lines()), "the drain's beginning")
        harness.time.sleep(0.3)
        between = [get_in_line(opened.getsockname(), f"def main():\n    return {{'n': {n}}}\n") for n in range(20)]
        assert flying.result(PATIENCE).body == DONE, "a request in flight is answered by the old one"
        assert server.wait_exit() == 0
        server.traces.assert_clean(server.pid, tree)
        late = get_in_line(opened.getsockname(), HELLO)
        after = activate([opened], mode)
        for n, client in enumerate(between):
            answer = answer_of(client)
            assert answer is not None, "a connection that waited was lost"
            assert (answer.status, answer.json["result"]) == (200, {"n": n})
        assert answer_of(late).body == WORD
        after.assert_serves()


def test_a_first_start_serves_what_waits_already(activate, mode):
    with listening() as opened:
        early = get_in_line(opened.getsockname(), HELLO)
        activate([opened], mode, ready=False)
        assert answer_of(early).body == WORD, "it waits for the first jail"
