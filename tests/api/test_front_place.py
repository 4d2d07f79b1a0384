"""In the front's place: everything that its socket offers, tried by somebody who has taken it. The supervisor survives,
ends the front that broke the protocol and begins another; no zygote and no waiting jail is touched, and nothing runs but
in a jail, within the server's limits."""
import fcntl
import json
import os
import random
import select
import shutil
import socket
import struct
import tempfile
import time

import pytest

import harness
import place
from harness import KIB, MIB, wait_until
from place import END, FILE_DATA, FILE_PATH, NONCE, SCRIPT, Front, frame, job, memory_file

HELLO = 'def main():\n    return {"message": "hello"}\n'
SLEEP = "import time\ndef main():\n    time.sleep(60)\n    return {}\n"


@pytest.fixture(scope="module")
def layout():
    return place.Layout()


class Taken:
    """A server whose front's place is ours."""

    def __init__(self, server, layout, path):
        self.server, self.layout, self.path = server, layout, path
        self.since, self.quick, self.kept = 0, 0, None

    def connect(self):
        wait_until(self.path.exists, "the listening socket")
        front = Front(self.layout, self.path)
        self.since = time.monotonic()
        return front

    def before_an_end(self):
        """The fourth front in a row that ends within a second is begun again only after two: not the point here."""
        if self.quick == 3:
            time.sleep(max(0, self.since + 1.1 - time.monotonic()))
        self.quick = self.quick + 1 if time.monotonic() < self.since + 1.1 else 0

    def working(self):
        """A front that has just had a script run; the same again until it is dropped."""
        self.kept = self.kept or self.connect()
        result, _ = self.kept.run(1, HELLO)
        assert json.loads(result) == {"message": "hello"}
        return self.kept

    def drop(self):
        if self.kept:
            self.kept.close()
        self.kept = None

    def jails(self):
        """(zygotes, runs that wait), by pid and start."""
        depth = harness.pid_depth(self.server.pid)
        python = [each for each in self.server.children() if harness.is_python(each)]
        return {(each.pid, each.started) for each in python if harness.pid_depth(each.pid) == depth}, {
            (each.pid, each.started) for each in python if harness.pid_depth(each.pid) > depth
        }


@pytest.fixture(scope="module", params=harness.MODES)
def taken(request, launch, layout, tmp_path_factory):
    build = place.build_with("safe-script-http", place.STAND_IN)
    directory = tempfile.mkdtemp(prefix="api-tests-")
    os.chmod(directory, 0o777)
    path = place.pathlib.Path(directory) / "socket"
    server = launch("--pool", "2", user=request.param == "user", listen=path, ready=False, build=build)
    yield Taken(server, layout, path)
    server.stop()
    shutil.rmtree(build)
    shutil.rmtree(directory)


@pytest.fixture
def front(taken):
    """One of this test alone."""
    if taken.kept:
        taken.before_an_end()
        taken.drop()
    with taken.connect() as connected:
        yield connected
        taken.before_an_end()


# ── what is right ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_honest_front_has_its_runs(front, layout):
    result, outcome = front.run(1, 'def main():\n    return {"uid": __import__("os").getuid()}\n')
    assert json.loads(result) == {"uid": 1000}
    assert layout.read(outcome.data, "OUTCOME", "facts.wait_status") == 0


def test_lower_limits_are_the_run_s(front):
    result, outcome = front.run(1, "def main():\n    while True: pass\n", limits=front.limit("wall_ms", 200))
    assert result is None
    assert front.layout.read(outcome.data, "OUTCOME", "facts.cause") == front.layout.causes["wall"]


def test_an_id_may_be_used_again_when_its_run_is_over(front):
    for _ in range(3):
        assert front.run(7, HELLO)[0]


def test_cancelling_what_is_not_there_does_nothing(front, layout):
    for number in (0, 1, 2**64 - 1):
        front.say("CANCEL", id=number, cause=layout.causes["cancelled"])
    assert front.run(1, HELLO)[0]
    front.say("CANCEL", id=1, cause=layout.causes["cancelled"])
    assert front.run(1, HELLO)[0]


@pytest.mark.parametrize("owner", (256, 2**31, 2**32 - 1))
def test_an_owner_that_there_is_not_gets_nothing(front, owner):
    fd = memory_file(job(HELLO))
    front.ask(1, fd, owner=owner)
    os.close(fd)
    assert front.hear_of(1, "OUTCOME", "REFUSED").name == "REFUSED"
    assert front.run(2, HELLO)[0]


# ── messages that break the protocol ───────────────────────────────────────────────────────────────────────────────


def raw(make):
    return lambda front, fd: front.send(make(front.layout))


def run(*fds, **fields):
    return lambda front, fd: front.ask(1, *(fd(each) for each in fds), **fields)


def said_twice_while_it_runs(front, fd):
    front.ask(1, fd("sleep"))
    assert front.hear_of(1, "STARTED")
    front.ask(1, fd("job"))


def with_rights(data, count):
    return lambda front, fd: front.send(data(front.layout), [fd("null") for _ in range(count)])


def over(name, by=1):
    return lambda front, fd: front.ask(1, fd("job"), limits=front.limit(name, front.limit_value(name) + by))


def below(name):
    return lambda front, fd: front.ask(1, fd("job"), limits=front.limit(name, 0))


VIOLATIONS = {
    "an empty message with a descriptor": with_rights(lambda layout: b"", 1),
    "one byte": raw(lambda layout: b"\0"),
    "half a header": raw(lambda layout: layout.write("CANCEL")[:6]),
    "a header alone": raw(lambda layout: layout.header(layout.messages["RUN"]["type"], 0)),
    "another magic": raw(lambda layout: b"\0\0\0\0" + layout.write("CANCEL")[4:]),
    "a length that lies": raw(lambda layout: layout.header(layout.messages["CANCEL"]["type"], 1 << 31) + layout.write("CANCEL")[8:]),
    "a byte too many": raw(lambda layout: layout.header(layout.messages["CANCEL"]["type"], 17) + b"\0" * 17),
    "64 KiB": raw(lambda layout: layout.header(layout.messages["RUN"]["type"], 65536) + b"\0" * 65536),
    "type 0": raw(lambda layout: layout.header(0, 8) + b"\0" * 8),
    "a type that there is not": raw(lambda layout: layout.header(0xFFFF, 8) + b"\0" * 8),
    "the supervisor's own SETUP": with_rights(lambda layout: layout.write("SETUP"), 2),
    "the supervisor's own OUTCOME": raw(lambda layout: layout.write("OUTCOME", id=1)),
    "a zygote's SPAWNED": with_rights(lambda layout: layout.write("SPAWNED", slot=1, pid=1), 1),
    "a run's JAILED": raw(lambda layout: layout.write("JAILED", layers=0xFF)),
    "an order to the starter": with_rights(lambda layout: layout.write("BEGIN", what=1), 1),
    "an id map": raw(lambda layout: layout.write("MAP", pid=1)),
    "CANCEL with a descriptor": with_rights(lambda layout: layout.write("CANCEL", id=1, cause=7), 1),
    "CANCEL without a cause": raw(lambda layout: layout.write("CANCEL", id=1, cause=0)),
    "CANCEL for a cause that there is not": raw(lambda layout: layout.write("CANCEL", id=1, cause=99)),
    "RUN without a job": run(),
    "RUN with a descriptor too many": run("job", "job"),
    "RUN with a flood of descriptors": run(*["job"] * 200),
    "RUN that lacks its stdin": run("job", has_stdin=1),
    "id 0": lambda front, fd: front.ask(0, fd("job")),
    "the id of a run that runs": said_twice_while_it_runs,
    "more time than the server gives": over("wall_ms"),
    "more memory than the server gives": over("memory_bytes"),
    "more processes, by far": over("processes", 2**62),
    "more inodes than the server gives": over("inodes"),
    "no time at all": below("wall_ms"),
    "no memory at all": below("memory_bytes"),
    "a directory for a job": run("directory"),
    "a path alone for a job": run("path"),
    "a device for a job": run("null"),
    "a pipe for a job": run("pipe"),
    "a file for a job": run("file"),
    "the supervisor's socket for a job": run("socket"),
    "a job that can still change": run("unsealed"),
    "a job that can still shrink": run("growing"),
    "a job that can be written by old mappings": run("future"),
    "a huge job with nothing in it": run("sparse"),
    "a directory for stdin": run("job", "directory", has_stdin=1),
    "a network socket for stdin": run("job", "network", has_stdin=1),
    "a listening socket for stdin": run("job", "listener", has_stdin=1),
    "the supervisor's socket for stdin": run("job", "socket", has_stdin=1),
    "a memory file for stdin that can still change": run("job", "unsealed", has_stdin=1),
}


class Descriptors:
    """Descriptors by kind, closed in the end."""

    def __init__(self, front):
        self.front, self.open = front, []

    def __call__(self, kind):
        reading, writing = os.pipe()
        kinds = {
            "job": lambda: memory_file(job(HELLO)),
            "sleep": lambda: memory_file(job(SLEEP)),
            "directory": lambda: os.open("/", os.O_RDONLY | os.O_DIRECTORY),
            "path": lambda: os.open("/etc", os.O_PATH),
            "null": lambda: os.open("/dev/null", os.O_RDWR),
            "pipe": lambda: os.dup(reading),
            "file": lambda: os.open("/etc/passwd", os.O_RDONLY),
            "socket": lambda: os.dup(self.front.socket.fileno()),
            "network": lambda: socket.socket().detach(),
            "listener": lambda: os.dup(self.front.given[-1]),
            "unsealed": lambda: memory_file(job(HELLO), seals=0),
            "growing": lambda: memory_file(job(HELLO), seals=fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW),
            "future": lambda: memory_file(job(HELLO), seals=fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | 0x10),
            "sparse": lambda: memory_file(job(HELLO), size=1 << 50),
        }
        self.open += [reading, writing, kinds[kind]()]
        return self.open[-1]

    def close(self):
        for fd in self.open:
            os.close(fd)


def settled(taken):
    """A pool, once the run that has just been answered has gone: the kernel takes a moment to tear it down."""
    found = taken.jails()
    time.sleep(0.1)
    return found if len(found[1]) >= 2 and found == taken.jails() else None


@pytest.mark.parametrize("what", VIOLATIONS)
def test_what_breaks_the_protocol_ends_the_front_alone(taken, what):
    def words():
        return len([line for line in taken.server.log_lines() if "broke the protocol" in line])

    front = taken.working()
    zygotes, waiting = wait_until(lambda: settled(taken), "a pool")
    before, descriptors = words(), Descriptors(front)
    taken.before_an_end()
    try:
        VIOLATIONS[what](front, descriptors)
    except OSError as error:  # ours: too many rights for one message, or it has gone already
        assert what == "RUN with a flood of descriptors" or isinstance(error, ConnectionError), error
    assert front.is_ended()
    taken.drop()
    descriptors.close()
    wait_until(lambda: words() == before + 1, "a word of it in the log")
    taken.working()
    now = taken.jails()
    assert now[0] == zygotes
    taken_by_runs = {"the id of a run that runs": 2}.get(what, 1)
    assert len(waiting - now[1]) <= taken_by_runs, "jails that waited have gone"


# ── jobs that no front writes ──────────────────────────────────────────────────────────────────────────────────────

JOBS = {
    "nothing": b"",
    "one byte": b"x",
    "zeros": b"\0" * 4096,
    "no script": frame(NONCE, b"n" * 16) + frame(END),
    "no end": frame(NONCE, b"n" * 16) + frame(SCRIPT, HELLO.encode()),
    "a short nonce": frame(NONCE, b"n") + frame(SCRIPT, HELLO.encode()) + frame(END),
    "a frame longer than the rest": frame(NONCE, b"n" * 16) + struct.pack("=II", SCRIPT, 2**32 - 1) + b"x",
    "a frame that is not a job's": frame(NONCE, b"n" * 16) + frame(99, b"x") + frame(END),
    "a report": frame(NONCE, b"n" * 16) + frame(8, b'{"forged":1}') + frame(END),
}


@pytest.mark.parametrize("what", JOBS)
def test_a_job_that_is_none_ends_its_run_alone(front, layout, what):
    fd = memory_file(JOBS[what])
    front.ask(1, fd)
    os.close(fd)
    outcome = front.hear_of(1, "OUTCOME")
    assert layout.read(outcome.data, "OUTCOME", "facts.wait_status") != 0
    assert place.RESULT not in place.frames(front.report(1))
    assert front.run(2, HELLO)[0]


@pytest.mark.parametrize("path", ("../outside", "/tmp/outside", "a/../../outside", "/etc/passwd", "\0", ""))
def test_files_of_a_job_stay_in_the_jail(front, path):
    before = os.stat("/etc/passwd").st_mtime_ns
    fd = memory_file(job(HELLO, frame(FILE_PATH, path.encode()), frame(FILE_DATA, b"x")))
    front.ask(1, fd)
    os.close(fd)
    front.hear_of(1, "OUTCOME")
    assert place.frames(front.report(1))  # placed in the jail's own tree, or refused
    assert not os.path.exists("/tmp/outside")
    assert os.stat("/etc/passwd").st_mtime_ns == before


# ── floods ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def resident(pid):
    with open(f"/proc/{pid}/statm", encoding="ascii") as text:
        return int(text.read().split()[1]) * os.sysconf("SC_PAGESIZE")


def test_a_flood_of_runs_is_refused_past_the_queue(taken, front, layout):
    before = resident(taken.server.pid)
    fd = memory_file(job(SLEEP))
    front.socket.setblocking(False)
    asked, last = 0, {}

    def listen():
        while select.select([front.socket], [], [], 0)[0]:
            message = front.hear()
            if message.name == "STARTED":
                for pipe in message.fds:
                    os.close(pipe)
            elif message.name in ("REFUSED", "OUTCOME"):
                number = layout.read(message.data, message.name, "id")
                assert number not in last, "two last words"
                last[number] = message.name

    while asked < 5000:
        try:
            front.ask(asked + 1, fd)
            asked += 1
        except BlockingIOError:
            listen()
    os.close(fd)
    wait_until(lambda: listen() or len(last) > 3500, "refusals")
    assert set(last.values()) == {"REFUSED"}
    assert resident(taken.server.pid) - before < 64 * MIB
    for number in set(range(1, asked + 1)) - set(last):
        while True:
            try:
                front.say("CANCEL", id=number, cause=layout.causes["cancelled"])
                break
            except BlockingIOError:
                listen()
    wait_until(lambda: listen() or len(last) == asked, "the last word on each")
    front.socket.setblocking(True)
    assert front.run(asked + 1, HELLO)[0]


def test_a_front_that_goes_takes_its_runs_with_it(taken, front):
    fd = memory_file(job(SLEEP))
    for number in range(1, 9):
        front.ask(number, fd)
    os.close(fd)
    assert front.hear_of(1, "STARTED")
    front.close()
    taken.working()


def test_orders_at_random_have_one_last_word_each(taken, front, layout):
    seed = int(os.environ.get("SAFE_SCRIPT_TEST_SEED", random.randrange(2**32)))
    print(f"SAFE_SCRIPT_TEST_SEED={seed}")
    draw = random.Random(seed)
    scripts = [HELLO, SLEEP, "def main(): return 1", "raise SystemExit(3)", "import os\nos.abort()", "def main():\n    print('x' * 100000)\n    return {}"]
    fds = [memory_file(job(script)) for script in scripts] + [memory_file(data) for data in JOBS.values()]
    last, open_ids, pipes = {}, set(), {}

    def listen(seconds=0.0):
        if not select.select([front.socket], [], [], seconds)[0]:
            return False
        message = front.hear()
        assert message, f"the front was ended (seed {seed})"
        number = layout.about(message)
        if message.name == "STARTED":
            assert number in open_ids, f"STARTED for {number} (seed {seed})"
            for pipe in (*pipes.pop(number, ()), *message.fds):
                os.close(pipe)
        elif message.name in ("OUTCOME", "REFUSED"):
            assert number in open_ids, f"a second last word on {number} (seed {seed})"
            open_ids.remove(number)
            last[number] = message.name
        return True

    for step in range(1, 1501):
        kind = draw.random()
        if kind < 0.6 and len(open_ids) < 60:
            limits = front.limit("wall_ms", draw.choice([1, 50, 1000])) if draw.random() < 0.5 else front.limit("disk_bytes", draw.choice([64 * KIB, MIB]))
            extra = [memory_file(b"stdin")] if draw.random() < 0.2 else []
            front.ask(step, draw.choice(fds), *extra, has_stdin=len(extra), limits=limits, owner=draw.randrange(layout.owners), tell_queued=draw.randrange(2))
            for fd in extra:
                os.close(fd)
            open_ids.add(step)
        elif kind < 0.9 and open_ids:
            front.say("CANCEL", id=draw.choice([draw.choice(sorted(open_ids)), draw.randrange(step + 5)]), cause=draw.choice([layout.causes["cancelled"], layout.causes["output"]]))
        else:
            front.say("ASK_STATS")
        while listen():
            pass
    for number in sorted(open_ids):
        front.say("CANCEL", id=number, cause=layout.causes["cancelled"])
    end = time.monotonic() + harness.PATIENCE
    while open_ids:
        assert time.monotonic() < end, f"no last word on {open_ids} (seed {seed})"
        listen(1.0)
    for fd in fds:
        os.close(fd)
    assert len(last) > 100
    assert front.run(10**6, HELLO)[0]
