"""TLS: the contract through it, handshakes that go wrong, certificates that change, and where the key is not."""
import contextlib
import datetime
import json
import os
import random
import re
import signal
import socket
import ssl
import subprocess

import pytest

import harness
from certificates import KEYS, Certificate, owner_of, secure_server as server  # noqa: F401
from harness import HELLO, IS_ROOT, PATIENCE, background, command_of, free_port, spin, wait_until

WORD = b'{"result":{"message":"hello"},"stdout":""}'
DONE = b'{"result":{"done":true},"stdout":""}'
LONG = ("--limits.wall_ms", "60000", "--limits.cpu_ms", "60000")


@pytest.fixture
def make(public_dir, mode):
    """make(name, kind) → Certificate that a server of this mode can read."""
    return lambda name="one", kind="rsa": Certificate(public_dir, name, kind, owner_of(mode))


def events(server):
    return [json.loads(line) for line in server.log_lines() if line.startswith("{")]  # sanitizers say other things


def count(server, event):
    return sum(each["event"] == event for each in events(server))


def tls_process(server):
    (found,) = [each for each in server.children() if b"safe-script-tls" in command_of(each.pid)[0]]
    return found


def common_name(server, context):
    """Of the certificate that a new connection is shown."""
    with socket.create_connection(server.address, PATIENCE) as plain, context.wrap_socket(plain, server_hostname="127.0.0.1") as secure:
        return dict(pair[0] for pair in secure.getpeercert()["subject"])["commonName"]


# ── handshakes ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", KEYS)
def test_every_kind_of_key(start_server, make, mode, kind):
    made = make("one", kind)
    start_server(*made.flags, tls=made.client, user=mode == "user").assert_serves()


def shaken(server, **settings):
    context = server.tls.__class__(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    for name, value in settings.items():
        if name == "ciphers":
            context.set_ciphers(value)
        else:
            setattr(context, name, value)
    with socket.create_connection(server.address, PATIENCE) as plain, context.wrap_socket(plain) as secure:
        return secure.version(), secure.cipher()[0]


def test_versions(server):
    old = ssl.TLSVersion
    assert shaken(server)[0] == "TLSv1.3"
    assert shaken(server, maximum_version=old.TLSv1_2)[0] == "TLSv1.2"
    for version in (old.TLSv1, old.TLSv1_1):
        with pytest.raises((ssl.SSLError, ConnectionResetError, BrokenPipeError)):
            shaken(server, minimum_version=version, maximum_version=version, ciphers="DEFAULT@SECLEVEL=0")


@pytest.mark.parametrize("ciphers", ("AES128-GCM-SHA256", "AES128-SHA", "ECDHE-RSA-AES128-SHA", "ECDHE-RSA-AES256-SHA384", "DHE-RSA-AES256-GCM-SHA384"))
def test_old_ciphers_are_refused(server, ciphers):
    with pytest.raises((ssl.SSLError, ConnectionResetError)):
        shaken(server, maximum_version=ssl.TLSVersion.TLSv1_2, ciphers=f"{ciphers}:@SECLEVEL=0")


def test_http_1_1_is_agreed_upon_and_http_2_alone_refused(server):
    for offered, agreed in ((["http/1.1"], "http/1.1"), (["h2", "http/1.1"], "http/1.1"), (None, None)):
        context = ssl._create_unverified_context()
        if offered:
            context.set_alpn_protocols(offered)
        with socket.create_connection(server.address, PATIENCE) as plain, context.wrap_socket(plain) as secure:
            assert secure.selected_alpn_protocol() == agreed
    context.set_alpn_protocols(["h2"])
    with socket.create_connection(server.address, PATIENCE) as plain, pytest.raises(ssl.SSLError, match="(?i)alpn|no.application.protocol"):
        context.wrap_socket(plain)


def test_sessions_are_resumed(server):
    context = ssl._create_unverified_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with socket.create_connection(server.address, PATIENCE) as plain, context.wrap_socket(plain) as secure:
        session = secure.session
    with socket.create_connection(server.address, PATIENCE) as plain, context.wrap_socket(plain, session=session) as secure:
        assert secure.session_reused


@pytest.mark.parametrize("sent", (b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", b"POST /execute HTTP/1.1\r\n", b"get", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), ids=ascii)
def test_plain_http_is_told_to_come_by_https(server, sent):
    with harness.Wire(socket.create_connection(server.address, PATIENCE)) as wire:
        wire.send(sent)
        answer = wire.answer()
        assert answer.status == 400 and "https" in answer.error
        assert wire.closed()


@pytest.mark.parametrize("sent", (b"\0" * 100, b"\x16\x03\x01\xff\xff" + b"x" * 1000, b"\x16\x03\x01\0\x05hello", b"\x16", b"\x80\x2e\1\0\2", random.Random(1).randbytes(4096)), ids=lambda sent: ascii(sent[:6]))
def test_a_handshake_of_nonsense_is_an_end(server, sent):
    with harness.Wire(socket.create_connection(server.address, PATIENCE)) as wire:
        wire.send(sent)
        wire.socket.shutdown(socket.SHUT_WR)
        assert wire.closed()
        assert b"HTTP" not in wire.rest


def test_records_that_were_changed_on_their_way_are_an_end(server):
    """A byte flipped between client and server: nothing of it reaches the front."""
    context = ssl._create_unverified_context()
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    secure = context.wrap_bio(incoming, outgoing)
    with socket.create_connection(server.address, PATIENCE) as plain:
        while True:
            try:
                secure.do_handshake()
                break
            except ssl.SSLWantReadError:
                plain.sendall(outgoing.read())
                incoming.write(plain.recv(65536))
        plain.sendall(outgoing.read())
        secure.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        record = bytearray(outgoing.read())
        record[-1] ^= 1
        plain.sendall(record)
        with contextlib.suppress(ConnectionResetError):
            while plain.recv(65536):
                pass


@pytest.mark.parametrize("sent", (b"", b"\x16", b"\x16\x03\x01\0\xc8"), ids=ascii)
def test_a_handshake_that_never_ends_is_given_up(start_server, make, sent, mode):
    made = make()
    server = start_server(*made.flags, "--body-timeout-ms", "700", tls=made.client, user=mode == "user")
    wires = [harness.Wire(socket.create_connection(server.address, PATIENCE)) for _ in range(50)]
    for wire in wires:
        wire.send(sent)
    server.assert_serves()
    assert all(wire.closed() for wire in wires)
    for wire in wires:
        wire.close()


@pytest.mark.parametrize("sent, status", ((b"", None), (b"P", 408), (b"POST /execute HTTP/1.1\r\nHost: x\r\n", 408)), ids=ascii)
def test_a_request_that_never_ends_is_given_up(start_server, make, sent, status, mode):
    made = make()
    server = start_server(*made.flags, "--body-timeout-ms", "1000", "--idle-timeout-ms", "1000", tls=made.client, user=mode == "user")
    with server.wire() as wire:
        if sent:
            wire.send(sent)
        answer = wire.answer()
        assert (answer and answer.status) == status
        assert wire.closed()
    server.assert_serves()


def test_strangers_who_stall_their_handshake_take_nobodys_place(start_server, make, mode):
    made = make()
    server = start_server(*made.flags, "--body-timeout-ms", "60000", tls=made.client, user=mode == "user", wrap=["prlimit", "--nofile=600:600"])
    stalled = [socket.create_connection(server.address, PATIENCE) for _ in range(800)]
    server.assert_serves()
    with server.wire() as wire:
        wire.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert wire.answer().status == 200
    for each in stalled:
        each.close()
    server.assert_serves()


# ── bytes ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_large_bodies_both_ways(server):
    text = "x" * 3_000_000
    answer = server.execute(f"def main():\n    return {{'length': {len(text)}, 'text': '\\x01' * 1000000}}\n#{text}")
    assert answer.status == 200
    assert answer.json["result"] == {"length": len(text), "text": "\x01" * 1000000}


def test_an_answer_for_a_slow_reader(server):
    body = json.dumps({"script": "def main():\n    return {'text': '\\x01' * 1000000}\n"}).encode()
    with server.wire() as wire:
        wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        wire.send(b"POST /execute HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        wire.socket.recv(1)  # decided; what follows is more than all sockets hold
        harness.time.sleep(1)
        rest = wire.stream.read(6_000_000)
        assert rest.count(b"\\u0001") > 900_000


def test_the_run_of_a_gone_client_is_killed(start_server, make, mode):
    made = make()
    server = start_server(*made.flags, *LONG, tls=made.client, user=mode == "user")
    body = json.dumps({"script": spin(55)}).encode()
    for end in ("close", "reset"):
        wire = server.wire()
        wire.send(b"POST /execute HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        run = server.wait_busy()
        if end == "reset":
            wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        wire.close()
        wait_until(lambda gone=run: not harness.alive(gone), "the end of the gone client's run")
    server.assert_serves()


def test_an_event_stream(server):
    with server.wire() as wire:
        body = b"import time\ndef main():\n    print('first')\n    time.sleep(0.3)\n    print('second')\n    return {'x': 1}\n"
        wire.send(b"POST /v1/runs HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\nContent-Type: text/x-python\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        seen = b""
        while b"event: finished" not in seen:
            seen += wire.socket.recv(65536)
        assert seen.index(b"first") < seen.index(b"second") < seen.index(b"event: finished")


# ── certificates ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_new_certificate_without_losing_a_connection(start_server, make, public_dir, mode):
    first, second = make("first"), make("second", "ecdsa")
    config = public_dir / "config.ini"
    config.write_text(f"[server]\n{first.lines}[limits]\nwall_ms = 60s\ncpu_ms = 60s\n")
    server = start_server("--config", config, tls=first.client, user=mode == "user")
    assert common_name(server, first.client) == "first"
    flying = background(server.execute, spin(5))
    with server.wire() as kept:
        server.wait_busy()
        config.write_text(f"[server]\n{second.lines}[limits]\nwall_ms = 60s\ncpu_ms = 60s\n")
        os.kill(server.pid, signal.SIGHUP)
        wait_until(lambda: count(server, "the certificate was read again"), "the new certificate")
        assert common_name(server, second.client) == "second"
        kept.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert kept.answer().status == 200, "a connection from before goes on"
    assert flying.result(PATIENCE).body == DONE
    server.tls = second.client
    server.assert_serves()
    # Files that are replaced in place, under the same names.
    third = make("third")
    os.replace(third.certificate, second.certificate)
    os.replace(third.key, second.key)
    os.kill(server.pid, signal.SIGHUP)
    wait_until(lambda: count(server, "the certificate was read again") == 2, "the third")
    third.certificate = second.certificate
    assert common_name(server, third.client) == "third"


@pytest.mark.parametrize("breaks", ("missing", "empty", "nonsense", "another key", "directory", "unset"))
def test_a_broken_certificate_is_not_taken(start_server, make, public_dir, mode, breaks):
    good, other = make("good"), make("other")
    config = public_dir / "config.ini"
    config.write_text(f"[server]\n{good.lines}")
    server = start_server("--config", config, tls=good.client, user=mode == "user")
    kept = good.certificate.read_bytes()
    context = good.client
    if breaks == "missing":
        good.certificate.unlink()
    elif breaks == "empty":
        good.certificate.write_bytes(b"")
    elif breaks == "nonsense":
        good.certificate.write_bytes(b"-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n")
    elif breaks == "another key":
        good.certificate.write_bytes(other.certificate.read_bytes())
    elif breaks == "directory":
        good.certificate.unlink()
        good.certificate.mkdir()
    else:
        config.write_text("[server]\npool = 2\n")
    os.kill(server.pid, signal.SIGHUP)

    def said():
        return [each for each in events(server) if each["level"] == "error" and re.search("certificate|tls", json.dumps(each))]

    wait_until(said, "a word about the certificate")
    assert common_name(server, context) == "good"
    server.assert_serves()
    # And an end of the TLS process now brings back what was in use.
    old = tls_process(server)
    os.kill(old.pid, signal.SIGKILL)
    wait_until(lambda: [each for each in server.children() if b"safe-script-tls" in command_of(each.pid)[0] and each.pid != old.pid], "another TLS process")
    server.wait_ready()
    assert common_name(server, context) == "good"
    if breaks == "directory":
        good.certificate.rmdir()
    config.write_text(f"[server]\n{good.lines}")
    good.certificate.write_bytes(kept)


@pytest.mark.parametrize("days, warns", ((-1, "the TLS certificate has expired"), (3, "the TLS certificate expires soon"), (300, None)))
def test_a_certificate_that_expires_is_a_warning(start_server, make, public_dir, mode, days, warns):
    made = make("old")
    # Signed anew with other dates: openssl req has no option for those in the past, openssl ca does.
    now = datetime.datetime.now(datetime.timezone.utc)
    form = "%Y%m%d%H%M%SZ"
    (public_dir / "index").write_text("")
    (public_dir / "ca.cnf").write_text(
        "[ca]\ndefault_ca = it\n[it]\ndatabase = index\nnew_certs_dir = .\nrand_serial = yes\ndefault_md = sha256\n"
        "policy = any\nx509_extensions = names\n[any]\ncommonName = supplied\n[names]\nsubjectAltName = IP:127.0.0.1\n"
    )
    start, end = (now - datetime.timedelta(days=40)).strftime(form), (now + datetime.timedelta(days=days)).strftime(form)
    for line in (
        ["req", "-new", "-key", made.key, "-subj", "/CN=old", "-out", "request"],
        ["ca", "-config", "ca.cnf", "-batch", "-selfsign", "-keyfile", made.key, "-in", "request", "-startdate", start,
         "-enddate", end, "-out", made.certificate, "-notext"],  # fmt: skip
    ):
        subprocess.run(["openssl", *line], check=True, capture_output=True, cwd=public_dir)
    server = start_server(*made.flags, tls=ssl._create_unverified_context(), user=mode == "user")
    server.assert_serves()
    said = [each for each in events(server) if "certificate" in each["event"]]
    assert [each["event"] for each in said] == ([warns] if warns else [])
    assert all(each["level"] == "warning" for each in said)


def test_configurations_that_are_refused(cli, make, public_dir, mode):
    one, other = make("one"), make("other")
    address = f"tls:127.0.0.1:{free_port()}"
    empty = public_dir / "empty"
    empty.write_text("")
    for flags, word in (
        (["--listen", address], b"tls_certificate"),
        (["--listen", address, "--tls-certificate", one.certificate], b"go together"),
        (["--listen", address, "--tls-key", one.key], b"go together"),
        (["--listen", address, "--tls-certificate", one.certificate, "--tls-key", other.key], b"key"),
        (["--listen", address, "--tls-certificate", one.key, "--tls-key", one.certificate], b"PEM"),
        (["--listen", address, "--tls-certificate", "/no/such/file", "--tls-key", one.key], b"/no/such/file"),
        (["--listen", address, "--tls-certificate", empty, "--tls-key", one.key], b"tls_certificate"),
        (["--listen", "tls:unix:/tmp/x", *one.flags], b"tls:unix:/tmp/x"),
        (["--listen", "tls:nonsense", *one.flags], b"tls:nonsense"),
        (["--listen", "tls:0.0.0.0:8443", *one.flags], b"keys"),  # as for a plain address
    ):
        for check in (["--check-config"], []):
            ended = cli("serve", *map(str, flags), *check, mode=mode)
            assert ended.returncode == 2, (flags, ended.stderr)
            assert word in ended.stderr.strip().split(b"\n")[-1], ended.stderr
    ended = cli("serve", "--listen", f"127.0.0.1:{free_port()}", *one.flags, mode=mode)
    assert ended.returncode != 0 and b"no address begins with tls:" in ended.stderr
    assert cli("serve", "--check-config", "--listen", address, *one.flags, mode=mode).returncode == 0


def test_a_key_that_everybody_may_read_is_a_warning(start_server, make, mode):
    made = make()
    made.key.chmod(0o644)
    server = start_server(*made.flags, tls=made.client, user=mode == "user")
    server.assert_serves()
    assert any("private key" in each["event"] and each["level"] == "warning" for each in events(server))


# ── the process ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_plain_and_tls_side_by_side(start_server, make, mode):
    made, port = make(), free_port()
    server = start_server(*made.flags, "--listen", f"127.0.0.1:{port}", tls=made.client, user=mode == "user")
    server.assert_serves()
    server.tls, server.address = None, ("127.0.0.1", port)
    server.assert_serves()


def test_kill_9_of_the_tls_process(start_server, make, mode):
    made = make()
    server = start_server(*made.flags, *LONG, tls=made.client, user=mode == "user")
    flying = background(server.execute, spin(55))
    run = server.wait_busy()
    old = tls_process(server)
    os.kill(old.pid, signal.SIGKILL)
    wait_until(lambda: not harness.alive(run), "the end of the run that nobody waits for")
    server.wait_ready()
    server.assert_serves()
    assert tls_process(server).pid != old.pid
    assert count(server, "the TLS process ended and is started again") == 1
    with pytest.raises(Exception):
        flying.result(PATIENCE)


def test_kill_9_of_the_front(start_server, make, mode):
    made = make()
    server = start_server(*made.flags, tls=made.client, user=mode == "user")
    tls = tls_process(server)
    front = server.front()
    os.kill(front.pid, signal.SIGKILL)
    early = [server.wire() for _ in range(10)]  # their handshakes do not wait for the next front
    wait_until(lambda: (now := server.front()) and now.pid != front.pid, "another front")
    for wire in early:
        wire.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = wire.answer()
        # One that the dying front had taken already ends with it.
        assert answer is None or answer.status == 200
        wire.close()
    server.wait_ready()
    server.assert_serves()
    assert tls_process(server).pid == tls.pid


def test_sigterm_drains(start_server, make, mode):
    made = make()
    server = start_server(*made.flags, tls=made.client, user=mode == "user")
    body = json.dumps({"script": "def main():\n    print('\\x01' * 1000000)\n    return {}\n"}).encode()
    flying = background(server.execute, spin(3))
    server.wait_busy()
    with server.wire() as wire:
        wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        wire.send(b"POST /execute HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        first = wire.socket.recv(1)
        tree = server.children()
        server.process.send_signal(signal.SIGTERM)
        harness.time.sleep(0.7)
        rest = first + wire.stream.read()
        assert rest.startswith(b"HTTP/1.1 200") and rest.count(b"\\u0001") == 1_000_000
    assert flying.result(PATIENCE).body == DONE
    assert server.wait_exit() == 0
    server.traces.assert_clean(server.pid, tree)


def test_a_client_that_takes_no_answer_does_not_hold_up_the_end(start_server, make, mode):
    made = make()
    server = start_server(*made.flags, tls=made.client, user=mode == "user")
    body = json.dumps({"script": "def main():\n    print('\\x01' * 1000000)\n    return {}\n"}).encode()
    with server.wire() as wire:
        wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        wire.send(b"POST /execute HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        wire.socket.recv(1)
        server.process.send_signal(signal.SIGTERM)
        assert server.wait_exit() == 0


@pytest.mark.skipif(not IS_ROOT, reason="only root may read another process's memory")
def test_the_key_is_in_one_process_only(start_server, make, mode):
    made = make()
    server = start_server(*made.flags, tls=made.client, user=mode == "user")
    flying = background(server.execute, spin(8))
    server.wait_busy()
    # A prime of the key, as it lies in memory either way round; and the file's own text.
    text = made.key.read_bytes()
    shown = subprocess.run(["openssl", "rsa", "-in", made.key, "-noout", "-text"], check=True, capture_output=True).stdout.decode()
    prime = bytes.fromhex(re.search(r"prime1:((?:\s+[0-9a-f:]+)+)", shown)[1].replace(":", "").replace("\n", "").replace(" ", "")).lstrip(b"\0")
    needles = (prime[20:60], prime[::-1][20:60], text.split(b"\n")[5])

    def holds(pid):
        with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as memory:
            for line in maps:
                start, end = (int(part, 16) for part in line.split()[0].split("-"))
                if line.split()[1][0] != "r" or "[v" in line:
                    continue
                with contextlib.suppress(OSError, ValueError):
                    memory.seek(start)
                    bytes_there = memory.read(end - start)
                    if any(needle in bytes_there for needle in needles):
                        return True
        return False

    with server.wire():  # a session, so that the key has been used
        holders = {pid for pid in [server.pid, *(each.pid for each in server.children())] if holds(pid)}
    assert holders == {tls_process(server).pid}, {pid: command_of(pid) for pid in holders}
    assert flying.result(PATIENCE).body == DONE


@pytest.mark.skipif(not IS_ROOT, reason="only root may look into another's /proc")
def test_what_the_tls_process_has(server):
    process, front = tls_process(server), server.front()
    status = dict(line.split(":\t", 1) for line in open(f"/proc/{process.pid}/status").read().splitlines())
    assert all(int(status[name], 16) == 0 for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"))
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    assert os.stat(f"/proc/{process.pid}/environ").st_uid == 0, "its own uid cannot trace it"
    if server.mode == "root":
        front_uid = re.search(r"^Uid:\t(\d+)", open(f"/proc/{front.pid}/status").read(), re.MULTILINE)[1]
        assert int(status["Uid"].split()[0]) not in (0, int(front_uid))
    if {"namespaces", "root"} <= set(server.layers):
        for kind in ("net", "mnt", "ipc", "uts"):
            spaces = {os.readlink(f"/proc/{pid}/ns/{kind}") for pid in (server.pid, front.pid, process.pid)}
            assert len(spaces) == 3, kind
    held = {os.readlink(f"/proc/{process.pid}/fd/{fd}") for fd in os.listdir(f"/proc/{process.pid}/fd")}
    assert not [name for name in held if "memfd" in name or name.startswith("/") and name != "/dev/null"]


def test_a_socket_that_is_passed_as_tls(builds, make, mode, tmp_path):
    made = make()
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        opened.listen()
        line = harness.command(builds[mode], mode, "serve", *made.flags, *harness.python_flag())
        log = tmp_path / "log"
        fd = os.dup2(opened.fileno(), 200)
        with open(log, "wb") as stderr:
            process = subprocess.Popen(
                ["bash", "-c", 'export LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=tls; exec "$@" 3<&200 200<&-', "bash", *line],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=stderr, env=harness.environment(), cwd="/", pass_fds=[fd],
            )  # fmt: skip
        os.close(fd)
        server = harness.Server(process, mode, opened.getsockname(), log)
        server.traces, server.tls = harness.Traces(), made.client
        try:
            early = server.wire()
            server.wait_ready()
            early.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert early.answer().status == 200
            early.close()
            server.assert_serves()
        finally:
            server.stop()
