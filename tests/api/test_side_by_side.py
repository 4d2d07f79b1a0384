"""Two runs at the same time are kept apart, in every place: also where both have one uid and one pid namespace with the server (a
container without CAP_SETUID), and only rule sets, the filter and the supervisor stand between them."""
import glob

import pytest

from harness import PATIENCE, background, descendants

# The victim: it holds what can be held, and tells at the end what became of it.
VICTIM = """
import fcntl, os, resource, signal, tempfile, time
def main(names):
    got = []
    for number in set(signal.valid_signals()) - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, lambda number, frame: got.append(number))
    for directory in (".", tempfile.gettempdir()):
        open(f"{directory}/{names['mark']}", "w").write("secret of the victim")
    held = []
    for path in (os.__file__, os.path.dirname(os.__file__)):
        descriptor = os.open(path, os.O_RDONLY)
        held.append(descriptor)
        for lock in (lambda: fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB), lambda: fcntl.lockf(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)):
            try:
                lock()
            except OSError:
                pass
    before = {directory: sorted(os.listdir(directory)) for directory in (".", tempfile.gettempdir())}
    limits = [resource.getrlimit(n) for n in range(16)]
    since, end = time.time(), time.monotonic() + names["seconds"]
    while time.monotonic() < end:
        time.sleep(0.01)
    after = {directory: sorted(os.listdir(directory)) for directory in before}
    return {
        "since": since, "until": time.time(), "signals": got, "files": before == after, "content": open(names["mark"]).read(),
        "limits": limits == [resource.getrlimit(n) for n in range(16)],
    }
"""

ATTACKER = """
import ctypes, fcntl, os, signal, socket, tempfile, time
libc = ctypes.CDLL(None, use_errno=True)

def raw(number, *arguments):
    result = libc.syscall(number, *(ctypes.c_long(each) if isinstance(each, int) else each for each in arguments))
    if result < 0:
        raise OSError(ctypes.get_errno(), "refused")
    return result

def changed(path, call, argument):
    before = os.stat(path)
    call(path, argument)
    after = os.stat(path)
    if (before.st_mode, before.st_mtime) == (after.st_mode, after.st_mtime):
        raise OSError("answered, and not done")

def main(names):
    through, since = [], time.time()

    def attempt(name, call, *arguments):
        try:
            value = call(*arguments)
        except OSError:
            return
        through.append(f"{name}: {value!r}"[:200])

    buffer = ctypes.create_string_buffer(64)
    vector = (ctypes.c_void_p * 2)(ctypes.addressof(buffer), 64)
    for pid in names["pids"]:
        if pid == os.getpid():
            continue
        for number in (0, signal.SIGTERM, signal.SIGUSR1, signal.SIGRTMIN):
            attempt("kill", os.kill, pid, number)
            attempt("killpg", os.killpg, pid, number)
            attempt("tgkill", raw, 234, pid, pid, int(number))
            attempt("tkill", raw, 200, pid, int(number))
            attempt("sigqueue", raw, 129, pid, int(number), ctypes.create_string_buffer(128))
            attempt("tgsigqueue", raw, 297, pid, pid, int(number), ctypes.create_string_buffer(128))
        for request in (0x10, 0x4206):
            attempt("ptrace", raw, 101, request, pid, 0, 0)
        attempt("process_vm_readv", raw, 310, pid, vector, 1, vector, 1, 0)
        attempt("process_vm_writev", raw, 311, pid, vector, 1, vector, 1, 0)
        attempt("pidfd_open", raw, 434, pid, 0)
        attempt("prlimit", raw, 302, pid, 7, 0, buffer)
        attempt("prlimit, set", raw, 302, pid, 4, buffer, 0)
        attempt("sched_setaffinity", raw, 203, pid, 8, ctypes.create_string_buffer(b"\\x01" + bytes(7), 8))
        attempt("sched_setscheduler", raw, 144, pid, 3, buffer)
        attempt("setpriority", raw, 141, 0, pid, 19)
        attempt("ioprio_set", raw, 251, 1, pid, 3 << 13)
        attempt("kcmp", raw, 312, pid, os.getpid(), 0, 0, 0)
        attempt("get_robust_list", raw, 274, pid, buffer, buffer)
        attempt("move_pages", raw, 279, pid, 0, 0, 0, 0, 0)
        attempt("perf_event_open", raw, 298, buffer, pid, -1, -1, 0)
        for what in ("environ", "mem", "maps", "cmdline", "status", "root/etc/passwd", "cwd", "fd/0", "task"):
            attempt(f"/proc/{what}", lambda: open(f"/proc/{pid}/{what}", "rb").read(1))
    attempt("kill all", os.kill, -1, 0)
    attempt("setpriority of the user", raw, 141, 2, 0, 19)

    own = os.path.dirname(os.getcwd())
    for box in names["boxes"]:
        if os.path.samefile(box, own) if os.path.exists(box) and os.path.exists(own) else box == own:
            continue
        for part in ("", "/work", "/tmp", "/shm"):
            attempt("listing", os.listdir, box + part)
            attempt("reading", lambda: open(f"{box}{part}/{names['mark']}").read())
            attempt("writing", lambda: open(f"{box}{part}/{names['mark']}", "r+"))
            attempt("making", lambda: open(f"{box}{part}/made", "x"))
            attempt("removing", os.unlink, f"{box}{part}/{names['mark']}")
            attempt("modes", changed, box + part, os.chmod, 0o777)
            attempt("renaming", os.rename, box + part, own + "/work/mine")
            attempt("linking", os.link, f"{box}{part}/{names['mark']}", "linked")
            attempt("times", changed, box + part, os.utime, (1, 1))
            attempt("attributes", os.setxattr, box + part, "user.a", b"b")
    for directory in (".", tempfile.gettempdir(), "/tmp", "/dev/shm", "..", "/var/tmp", "/run"):
        attempt(f"mark in {directory}", lambda: open(f"{directory}/{names['mark']}").read())

    held = []
    for path in (os.__file__, os.path.dirname(os.__file__)):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            held.append(path)
        except OSError:
            pass
    attempt("abstract socket", lambda: socket.socket(socket.AF_UNIX).connect("\\0" + names["mark"]))
    attempt("shm", raw, 29, 4711, 4096, 0o1666)
    attempt("sem", raw, 64, 4711, 1, 0o1666)
    attempt("msg", raw, 68, 4711, 0o1666)
    attempt("mq", raw, 240, b"/mine\\0", os.O_CREAT | os.O_RDWR, 0o666, 0)
    attempt("key", raw, 248, b"user\\0", b"a\\0", b"b\\0", 1, -4)
    return {"since": since, "until": time.time(), "through": through, "held": held}
"""


@pytest.fixture
def own_server(start_server, mode, public_dir):
    """With a second environment, whose zygote is another."""
    (public_dir / "config.ini").write_text("[environment other]\nwarm = yes\npool = 1\n", encoding="ascii")
    return start_server("--config", public_dir / "config.ini", "--pool", "2", "--limits.wall_ms", "200s", user=mode == "user")


def boxes():
    return [path for place in ("/dev/shm", "/tmp", "/var/tmp") for path in glob.glob(f"{place}/safe-script-box-*")]


def attack(server, seconds, environment):
    """An attacker's record while a victim lives for some seconds in that environment, and the victim's."""
    mark = "a-mark-of-the-victim"
    victim = background(server.run, VICTIM, input={"mark": mark, "seconds": seconds}, environment=environment)
    during = []
    while not victim.done():
        others = [process.pid for process in descendants(server.pid)]
        during.append(server.run(ATTACKER, input={"mark": mark, "pids": [server.pid, *others], "boxes": boxes()}))
        assert (during[-1]["result"]["through"], during[-1]["result"]["held"]) == ([], []), during[-1]
    lived = victim.result(PATIENCE)
    assert lived["status"] == "ok", lived
    return lived["result"], [each["result"] for each in during]


@pytest.mark.parametrize("environment", ["default", "other"])
def test_a_run_reaches_nothing_of_another(own_server, environment):
    for seconds in (2, 8, 32, 128):
        lived, during = attack(own_server, seconds, environment)
        assert (lived["signals"], lived["files"], lived["content"], lived["limits"]) == ([], True, "secret of the victim", True)
        if any(lived["since"] < each["since"] and each["until"] < lived["until"] for each in during):
            return
    raise AssertionError("no attack fell into a victim's life")


# What a kernel counts for a uid, and a disk that all share, are not one run's to use up.

HOGS = {
    "threads": "import threading, time\ndef main():\n    threading.stack_size(32768)\n    while True:\n        try:\n            threading.Thread(target=time.sleep, args=(99,), daemon=True).start()\n        except RuntimeError:\n            time.sleep(0.2)\n",
    "disk": "import time\ndef main():\n    n = 0\n    while True:\n        try:\n            n += 1\n            open(str(n), 'wb').write(bytes(1 << 20))\n        except OSError:\n            time.sleep(0.2)\n",
    "files": "import time\ndef main():\n    n = 0\n    while True:\n        try:\n            n += 1\n            open(str(n), 'wb').close()\n        except OSError:\n            time.sleep(0.2)\n",
    "pipes": "import fcntl, os, time\ndef main():\n    kept = []\n    while True:\n        try:\n            r, w = os.pipe()\n            kept += [r, w]\n            os.set_blocking(w, False)\n            os.write(w, bytes(65536))\n        except OSError:\n            time.sleep(0.2)\n",
    "signals": "import os, signal, time\ndef main():\n    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())\n    while True:\n        try:\n            for n in range(signal.SIGRTMIN, signal.SIGRTMAX):\n                os.kill(os.getpid(), n)\n        except OSError:\n            pass\n        time.sleep(0.2)\n",
}

MODEST = """
import os, signal, threading
def main():
    threads = [threading.Thread(target=len, args=([],)) for _ in range(8)]
    for each in threads: each.start()
    for each in threads: each.join()
    open("file", "wb").write(bytes(1 << 20))
    for n in range(100): open(str(n), "w").close()
    pipes = [os.pipe() for _ in range(8)]
    for _, end in pipes: os.write(end, bytes(4096))
    got = []
    signal.signal(signal.SIGUSR1, lambda *_: got.append(1))
    os.kill(os.getpid(), signal.SIGUSR1)
    return {"done": got}
"""


@pytest.mark.parametrize("hog", HOGS.values(), ids=HOGS)
def test_a_greedy_run_leaves_a_modest_one_its_share(own_server, hog):
    greedy = [background(own_server.run, hog, limits={"wall_ms": 3000}) for _ in range(3)]
    while not all(each.done() for each in greedy):
        record = own_server.run(MODEST)
        assert record["status"] == "ok" and record["result"] == {"done": [1]}, record
    assert "ok" not in [each.result(PATIENCE)["status"] for each in greedy]
