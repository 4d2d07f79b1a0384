"""API keys: who may do what, with how much of the server, and who never sees them."""
import hashlib
import json
import os
import re
import signal
import stat
import subprocess

import pytest

from harness import HELLO, IS_ROOT, LONG, MODES, PATIENCE, background, command, environment, free_port, is_python, python_flag, spin, wait_until

KEY = re.compile(r"ss_[A-Za-z0-9_-]{43}\n")
OPEN = {"/healthz", "/readyz"}


@pytest.fixture
def keys(cli, public_dir, mode):
    """keys(*arguments) → CompletedProcess of safe-script key, on a file of its own: keys.path."""

    def call(*arguments):
        return cli("key", *arguments, "--keys-file", public_dir / "keys", mode=mode)

    def new(name, *fields):
        ended = call("new", name, *fields)
        assert ended.returncode == 0, ended.stderr
        assert KEY.fullmatch(ended.stdout.decode())
        return ended.stdout.decode().strip()

    call.path = public_dir / "keys"
    call.new = new
    return call


@pytest.fixture
def serve(start_server, keys, mode):
    """serve(*flags) → a server that wants the keys of the file."""
    return lambda *flags: start_server("--keys-file", keys.path, *flags, user=mode == "user")


def bearer(key):
    return {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}


def execute(server, key, script=HELLO, path="/execute", **options):
    return server.request("POST", path, json.dumps({"script": script, **options}), bearer(key))


def reload(server):
    def count():
        return sum("was read again" in line or "is broken" in line for line in server.log_lines())

    before = count()
    os.kill(server.pid, signal.SIGHUP)
    wait_until(lambda: count() > before, "a word about the reload")


# The command.


def test_new_list_revoke(keys):
    first, second = keys.new("ci"), keys.new("team-a.2", "concurrency=4", "rate=100/min", "burst=20", "limits.wall_ms=5s")
    assert first != second
    text = keys.path.read_text()
    assert hashlib.sha256(first.encode()).hexdigest() in text and hashlib.sha256(second.encode()).hexdigest() in text
    assert first not in text and second not in text
    assert stat.S_IMODE(keys.path.stat().st_mode) == 0o600
    lines = keys("list").stdout.decode().splitlines()
    assert [re.split(r"  +", line.strip())[0] for line in lines] == ["ci", "team-a.2"]
    assert "concurrency = 4, rate = 100/min, burst = 20, limits.wall_ms = 5 s" in lines[1]
    assert hashlib.sha256(first.encode()).hexdigest() not in "\n".join(lines)
    assert keys("revoke", "ci").returncode == 0
    assert [line.split()[0] for line in keys("list").stdout.decode().splitlines()] == ["team-a.2"]
    assert sorted(each.name for each in keys.path.parent.iterdir()) == ["keys"], "something is left beside the file"


def test_the_rest_of_the_file_stays_as_it_is(keys):
    keys.new("owner")
    keys.path.write_text("# ours\n[old]\nsha256 = " + "ab" * 32 + "\n# of old\n\n; the end")
    keys.path.chmod(0o640)
    keys.new("new")
    assert keys.path.read_text().startswith("# ours\n[old]\nsha256 = " + "ab" * 32 + "\n# of old\n\n; the end\n\n[new]\n")
    assert stat.S_IMODE(keys.path.stat().st_mode) == 0o640
    assert keys("revoke", "old").returncode == 0
    assert keys.path.read_text().startswith("# ours\n# of old\n; the end\n[new]\n")


WRONG = {
    "nothing": ((), 2, "there are new, list and revoke"),
    "no such verb": (("make", "x"), 2, "there are new, list and revoke"),
    "no name": (("new",), 2, "usage: safe-script key new NAME"),
    "bad name": (("new", "a b"), 1, '"a b" is no name for a key'),
    "bracket": (("new", "a]\n[b"), 1, "is no name for a key"),
    "too long": (("new", "n" * 33), 1, "is no name for a key"),
    "no value": (("new", "x", "rate"), 1, '"rate" is not FIELD=VALUE'),
    "two lines": (("new", "x", "rate=1/s\nburst=2"), 1, "is not FIELD=VALUE"),
    "unknown field": (("new", "x", "colour=red"), 1, "[x] colour: unknown field"),
    "bad rate": (("new", "x", "rate=10/day"), 1, '"10/day" is not a number of runs in a time'),
    "no rate": (("new", "x", "rate=0/s"), 1, "is not a number of runs in a time"),
    "burst alone": (("new", "x", "burst=3"), 1, "burst goes with rate"),
    "bad concurrency": (("new", "x", "concurrency=0"), 1, '"0" is not a whole number from 1 to 4096'),
    "above the server's": (("new", "x", "limits.wall_ms=11s"), 1, 'limits.wall_ms: "11s" is not a whole number from 1 to the server\'s 10 s'),
    "no request's limit": (("new", "x", "limits.inodes=5"), 1, "limits.inodes: unknown field"),
    "twice": (("new", "x", "rate=1/s", "rate=2/s"), 1, "rate stands there twice"),
    "own hash": (("new", "x", "sha256=" + "0" * 64), 1, "sha256 stands there twice"),
    "known name": (("new", "there"), 1, 'has a key "there" already'),
    "revoke none": (("revoke", "nobody"), 1, 'has no key "nobody"'),
    "revoke two": (("revoke", "there", "x"), 2, "usage: safe-script key revoke NAME"),
}


@pytest.mark.parametrize("arguments, status, message", WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_said_and_changes_nothing(keys, arguments, status, message):
    keys.new("there")
    before = keys.path.read_bytes()
    ended = keys(*arguments)
    assert (ended.returncode, ended.stdout) == (status, b"")
    assert message in ended.stderr.decode()
    assert keys.path.read_bytes() == before
    assert sorted(each.name for each in keys.path.parent.iterdir()) == ["keys"]


def test_which_file(cli):
    ended = cli("key", "list")
    assert ended.returncode == 2 and b"set keys_file" in ended.stderr


def test_many_at_once_lose_nothing(builds, keys, mode):
    names = [f"k{n}" for n in range(12)]
    running = [
        subprocess.Popen(command(builds[mode], mode, "key", "new", name, "--keys-file", keys.path), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment())
        for name in names
    ]
    assert all(KEY.fullmatch(each.communicate(timeout=PATIENCE)[0].decode()) for each in running)
    assert sorted(line.split()[0] for line in keys("list").stdout.decode().splitlines()) == sorted(names)


def test_a_link_stays_one(keys, public_dir):
    keys.new("one")
    link = public_dir / "link"
    link.symlink_to("keys")
    path, keys.path = keys.path, link
    assert keys("revoke", "one").returncode == 0
    assert link.is_symlink() and "one" not in path.read_text()


# A file that is wrong.

BROKEN = {
    "no hash": ("[a]\nrate = 1/s\n", "[a] has no sha256"),
    "short hash": ("[a]\nsha256 = 00\n", "64 hexadecimal digits"),
    "same key": (f"[a]\nsha256 = {'0' * 64}\n[b]\nsha256 = {'0' * 64}\n", "are the same key"),
    "twice": (f"[a]\nsha256 = {'0' * 64}\n[b]\nsha256 = {'1' * 64}\n[a]\nsha256 = {'2' * 64}\n", "[a] stands there twice"),
    "no section": ("sha256 = 00\n", "is no name for a key"),
    "bad date": (f"[a]\nsha256 = {'0' * 64}\ncreated = today\n", "a date such as"),
    "no fields": ("[a]\nnonsense\n", "line 2"),
}


@pytest.mark.parametrize("text, message", BROKEN.values(), ids=BROKEN)
def test_a_broken_file_keeps_the_server_from_starting(cli, keys, text, message, mode):
    keys.path.write_text(text)
    ended = cli("serve", "--keys-file", keys.path, "--check-config", mode=mode)
    assert ended.returncode == 2
    assert message in ended.stderr.decode() and str(keys.path) in ended.stderr.decode()


def test_a_file_that_is_not_there_or_anybody_s(cli, keys, mode):
    ended = cli("serve", "--keys-file", keys.path, mode=mode)
    assert ended.returncode == 2 and b"No such file" in ended.stderr
    keys.new("a")
    keys.path.chmod(0o666)
    ended = cli("serve", "--keys-file", keys.path, mode=mode)
    assert ended.returncode == 2 and b"chmod 600" in ended.stderr


# Who may do what.


def test_a_key_opens_everything(serve, keys):
    key = keys.new("ci")
    server = serve()
    answer = execute(server, key)
    assert (answer.status, answer.body) == (200, b'{"result":{"message":"hello"},"stdout":""}')
    for path in ("/v1/jail", "/v1/environments", "/openapi.json", "/"):
        assert server.request("GET", path, headers=bearer(key)).status == 200
    assert server.request("GET", "/v1/jail", headers={"Authorization": f"bearer   {key}"}).status == 200


def test_without_one_only_the_probes_answer(serve, keys):
    keys.new("ci")
    server = serve()
    for path in OPEN:
        assert server.request("GET", path).status == 200
    document = json.loads(server.request("GET", "/openapi.json", headers=bearer(keys.new("x"))).body or b"{}")
    assert "error" in document  # the new key is not known before a reload
    for method, path in [("GET", "/"), ("GET", "/openapi.json"), ("GET", "/v1/jail"), ("GET", "/nowhere"), ("DELETE", "/v1/runs/x"), ("POST", "/execute"), ("POST", "/v1/runs"), ("PUT", "/execute")]:
        answer = server.request(method, path, b'{"script": "1"}' if method == "POST" else None, {"Content-Type": "application/json"})
        assert answer.status == 401, (method, path)
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert "Authorization: Bearer" in (answer.json["detail"] if path.startswith("/v1/") else answer.error)


@pytest.mark.parametrize("value", ("Basic dTpw", "Bearer", "Bearer ", "Bearer a b", "Bearer é", "Bearer " + "x" * 200, "ss_x", "Token ss_x", "Bearer,ss_x"))
def test_what_is_no_key_is_401(serve, keys, value):
    keys.new("ci")
    answer = serve().request("GET", "/v1/jail", headers={"Authorization": value.encode()})
    assert answer.status == 401


def test_a_wrong_key_is_403(serve, keys):
    key = keys.new("ci")
    server = serve()
    for wrong in (key[:-1] + ("A" if key[-1] != "A" else "B"), key[:-1], key + "=", key.swapcase(), "ss_", hashlib.sha256(key.encode()).hexdigest()):
        answer = execute(server, wrong)
        assert (answer.status, answer.error) == (403, "this key is not valid here")
    assert execute(server, wrong, path="/v1/runs").headers["Content-Type"] == "application/problem+json"
    assert execute(server, key).status == 200


def test_a_key_sent_twice_is_malformed(serve, keys):
    key = keys.new("ci")
    line = f"Authorization: Bearer {key}\r\n".encode()
    answer, _ = serve().raw(b"GET /v1/jail HTTP/1.1\r\nHost: x\r\n" + line + line + b"\r\n")
    assert answer.status == 400 and "Authorization stands there twice" in answer.json["detail"]


def test_one_connection_may_change_keys(serve, keys):
    key = keys.new("ci")
    with serve().wire() as wire:
        for value, status in ((key, 200), ("ss_wrong", 403), (key, 200)):
            wire.send(f"GET /v1/jail HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {value}\r\n\r\n".encode())
            assert wire.answer().status == status


def test_runs_of_one_key_are_not_another_s(serve, keys):
    mine, other = keys.new("mine"), keys.new("other")
    server = serve()
    answer = server.request("POST", "/v1/runs", json.dumps({"script": HELLO}), {**bearer(mine), "Prefer": "respond-async"})
    assert answer.status == 202
    where = answer.headers["Location"]
    for method in ("GET", "DELETE"):
        assert server.request(method, where, headers=bearer(other)).status == 404
        assert server.request(method, where).status == 401
    assert server.request("GET", where, headers=bearer(mine)).status == 200


# Reload.


def test_keys_come_and_go_without_a_restart(serve, keys):
    first = keys.new("first")
    server = serve()
    second = keys.new("second")
    assert execute(server, second).status == 403
    reload(server)
    assert [execute(server, each).status for each in (first, second)] == [200, 200]
    keys("revoke", "first")
    reload(server)
    assert [execute(server, each).status for each in (first, second)] == [403, 200]


def test_a_revoked_key_s_run_in_flight_ends_as_it_would(serve, keys):
    key = keys.new("going")
    server = serve(*LONG)
    flying = background(execute, server, key, spin(3))
    server.wait_busy()
    keys("revoke", "going")
    reload(server)
    assert execute(server, key).status == 403
    assert flying.result(PATIENCE).status == 200


def test_a_broken_file_changes_nothing_at_a_reload(serve, keys):
    key = keys.new("ci")
    server = serve()
    keys.path.write_text("[ci]\nnonsense\n")
    reload(server)
    assert any("is broken" in line and "keys" in line for line in server.log_lines())
    assert execute(server, key).status == 200


def test_a_new_front_has_the_keys(serve, keys):
    key = keys.new("ci")
    server = serve()
    front = server.front()
    os.kill(front.pid, signal.SIGKILL)
    wait_until(lambda: (now := server.front()) and now.pid != front.pid, "another front")
    server.wait_ready()
    assert execute(server, key).status == 200
    assert execute(server, "ss_wrong").status == 403
    assert server.execute(HELLO).status == 401


# With how much.


def test_a_key_s_limits(serve, keys):
    key = keys.new("small", "limits.wall_ms=1s", "limits.output_bytes=1000", "limits.disk_bytes=1MiB")
    server = serve()
    assert execute(server, key, "import time\ndef main():\n    time.sleep(60)\n").error == "time limit exceeded: 1 s"
    assert len(execute(server, key, "def main():\n    print('x' * 5000)\n    return {}\n").json["stdout"]) == 1000
    assert execute(server, key, "def main():\n    open('f', 'wb').write(bytes(2 << 20))\n    return {}\n").error == "disk limit exceeded: 1 MiB"
    lower = execute(server, key, "import time\ndef main():\n    time.sleep(60)\n", limits={"wall_ms": 500})
    assert lower.error == "time limit exceeded: 0.5 s"
    higher = execute(server, key, HELLO, limits={"wall_ms": 2000})
    assert higher.status == 400 and "1000" in higher.error


def test_a_key_s_rate(serve, keys):
    key, other = keys.new("slow", "rate=2/h", "burst=3"), keys.new("other")
    server = serve()
    assert [execute(server, key).status for _ in range(3)] == [200] * 3
    answer = execute(server, key)
    assert answer.status == 429
    assert 1500 < int(answer.headers["Retry-After"]) <= 1800
    assert answer.error.startswith("the key's rate is spent: try again in")
    assert server.request("GET", "/v1/jail", headers=bearer(key)).status == 200, "only runs are counted"
    assert execute(server, other).status == 200
    reload(server)
    assert execute(server, key).status == 429, "a reload is no fresh start"


def test_a_key_s_concurrency(serve, keys):
    key, other = keys.new("one", "concurrency=1"), keys.new("other")
    server = serve("--concurrency", "4", *LONG)
    nap = "import time\ndef main():\n    start = time.monotonic()\n    time.sleep(0.4)\n    return {'from': start, 'to': time.monotonic()}\n"

    def spans(key):
        flying = [background(execute, server, key, nap) for _ in range(5)]
        return sorted((each.result(PATIENCE).json["result"] for each in flying), key=lambda span: span["from"])

    alone = spans(key)
    assert all(before["to"] <= after["from"] for before, after in zip(alone, alone[1:])), "two at once"
    together = spans(other)
    assert any(before["to"] > after["from"] for before, after in zip(together, together[1:]))


def test_a_greedy_key_does_not_starve_another(serve, keys):
    greedy, modest = keys.new("greedy"), keys.new("modest")
    server = serve("--concurrency", "2", *LONG)
    nap = "import time\ndef main():\n    time.sleep(0.3)\n    return {}\n"
    flying = [background(execute, server, greedy, nap) for _ in range(60)]
    wait_until(lambda: sum(each.done() for each in flying) >= 2, "the first answers")
    assert execute(server, modest).status == 200
    assert sum(each.done() for each in flying) < 30, "one waited for nearly all of another's"
    assert {each.result(PATIENCE).status for each in flying} == {200}


# Who never sees them.


def memory_of(pid):
    """Every byte that can be read of a process's memory."""
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as memory:
        for line in maps:
            start, end = (int(each, 16) for each in line.split()[0].split("-"))
            if line.split()[1].startswith("r") and "[v" not in line:
                try:
                    memory.seek(start)
                    yield memory.read(end - start)
                except OSError:
                    pass


@pytest.mark.skipif(not IS_ROOT, reason="another's memory is root's to read")
def test_no_key_is_in_a_zygote_s_or_a_run_s_memory(serve, keys, public_dir):
    key = keys.new("a-name-to-look-for")
    server = serve(*LONG, "--pool", "4")  # each jail's memory is read
    digest = hashlib.sha256(key.encode())
    looked_for = [key.encode(), digest.digest(), digest.hexdigest().encode(), b"a-name-to-look-for", str(keys.path).encode()]
    front = b"".join(memory_of(server.front().pid))
    assert digest.digest() in front, "the search itself finds nothing"
    flying = background(execute, server, key, "kept = 'a thing to find'\n" + spin(3))
    run = server.wait_busy()
    pythons = [each.pid for each in sorted(server.children(), key=lambda each: each.started) if is_python(each)]
    zygote = pythons[0]  # the oldest
    seen = set()
    for pid in (run.pid, *pythons):  # the run first, while it lives
        try:
            memory = b"".join(memory_of(pid))
            with open(f"/proc/{pid}/environ", "rb") as text:
                memory += text.read()
        except OSError:
            continue  # it has ended
        assert not [each for each in (*looked_for, b"KEYS_FILE") if each in memory], pid
        if len(memory) > 1 << 20:
            seen.add(pid)
    assert {run.pid, zygote} <= seen
    flying.result(PATIENCE)  # however it ends: what we read of its memory came to be there on its account


def test_the_log_has_the_key_s_name_and_never_the_key(serve, keys):
    key = keys.new("ci")
    server = serve()
    execute(server, key)
    execute(server, key[:-2] + "zz")
    wait_until(lambda: any('"key":"ci"' in line for line in server.log_lines()), "the run's line")
    text = "\n".join(server.log_lines())
    assert key not in text and key[:-2] not in text and hashlib.sha256(key.encode()).hexdigest() not in text


def test_run_needs_no_key(cli, keys, public_dir, mode):
    keys.new("ci")
    script = public_dir / "script.py"
    script.write_text(HELLO)
    ended = cli("run", script, *python_flag(), "--keys-file", keys.path, mode=mode)
    assert (ended.returncode, ended.stdout) == (0, b'{"message":"hello"}\n'), ended.stderr


# Who can reach the server at all.

EXPOSED = ("0.0.0.0:{}", "[::]:{}", "[::ffff:0.0.0.0]:{}")


@pytest.mark.parametrize("address", EXPOSED)
@pytest.mark.parametrize("flags", ((), ("--check-config",)), ids=("start", "check"))
def test_without_keys_only_this_machine(cli, mode, address, flags):
    ended = cli("serve", "--listen", address.format(free_port()), *flags, mode=mode)
    assert ended.returncode == 2
    assert b"keys_file" in ended.stderr and b"open_to_all" in ended.stderr and b"listen: expose(" in ended.stderr


def test_a_name_of_this_machine(start_server, mode):
    start_server("--listen", f"localhost:{free_port()}", user=mode == "user").assert_serves()


def bound(server):
    """Addresses that the server listens on, as the log has them."""
    return [json.loads(line)["address"] for line in server.log_lines() if '"listening"' in line]


def test_in_so_many_words(start_server, serve, keys, mode):
    for server in (
        start_server("--open-to-all", "yes", "--listen", f"0.0.0.0:{free_port()}", user=mode == "user"),
        start_server(env={"SAFE_SCRIPT_OPEN_TO_ALL": "yes", "SAFE_SCRIPT_LISTEN": f"0.0.0.0:{free_port()}"}, listen="", user=mode == "user", ready=False),
    ):
        wait_until(lambda server=server: bound(server), "its addresses")
    keys.new("ci")
    assert serve("--listen", f"0.0.0.0:{free_port()}").execute(HELLO).status == 401


@pytest.mark.parametrize("variable, host", (({}, "127.0.0.1"), ({"SAFE_SCRIPT_OPEN_TO_ALL": "yes"}, "0.0.0.0"), ({"SAFE_SCRIPT_KEYS_FILE": True}, "0.0.0.0")), ids=("loopback", "open", "keys"))
def test_port(start_server, keys, mode, variable, host):
    keys.new("ci")
    port = free_port()
    variable = {name: keys.path if value is True else value for name, value in variable.items()}
    server = start_server(listen="", port=port, env={"PORT": str(port), **{name: str(value) for name, value in variable.items()}}, user=mode == "user")
    assert bound(server) == [f"{host}:{port}"]
    assert server.execute(HELLO).status == (401 if "SAFE_SCRIPT_KEYS_FILE" in variable else 200)


def test_an_open_server_keeps_its_keys_at_a_reload(start_server, keys, public_dir, mode):
    key = keys.new("ci")
    config = public_dir / "config.ini"
    config.write_text(f"[server]\nkeys_file = {keys.path}\n")
    server = start_server("--config", config, "--listen", f"0.0.0.0:{free_port()}", user=mode == "user")
    config.write_text("[server]\n")
    reload(server)
    assert any("is broken" in line and "open_to_all" in line for line in server.log_lines())
    assert server.execute(HELLO).status == 401 and execute(server, key).status == 200


def test_keys_may_go_from_a_local_server(start_server, keys, public_dir, mode):
    keys.new("ci")
    config = public_dir / "config.ini"
    config.write_text(f"[server]\nkeys_file = {keys.path}\n")
    server = start_server("--config", config, user=mode == "user")
    assert server.execute(HELLO).status == 401
    config.write_text("[server]\n")
    reload(server)
    assert server.execute(HELLO).status == 200
    config.write_text(f"[server]\nkeys_file = {keys.path}\n")
    reload(server)
    assert server.execute(HELLO).status == 401
