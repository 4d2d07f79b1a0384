"""The system-call list, row by row: a script for each row that lets a call through, which works with the whole list and fails when that
row is left out (a test build's --without-call). So every row is needed by what its reason says. Leaving one out makes the jail narrower: nothing
here needs a container. What breaks a row's condition is in tests/api/test_denials.py."""
import functools
import json
import platform
import re
import subprocess

import harness
import pytest
from campaign import ABLATION_BUILD, BUILD, MODES

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="the rows as x86-64 has them")

LIBC = "import ctypes, os, threading, time\nlibc = ctypes.CDLL(None, use_errno=True)\n"

# Row, as `safe-script policy` prints it, "name" or "name condition" → the body of a script's main(). It returns what must be true.
ROWS = {
    "read": "return open('/dev/zero', 'rb').read(3) == bytes(3)",
    "write": "return os.write(1, b'text') == 4",
    "pread64": "f = open('f', 'wb+'); f.write(b'abc'); f.flush(); return os.pread(f.fileno(), 2, 1) == b'bc'",
    "pwrite64": "f = open('f', 'wb+'); return os.pwrite(f.fileno(), b'abc', 5) == 3",
    "lseek": "f = open('f', 'wb+'); f.write(b'abc'); f.seek(1); return f.read() == b'bc'",
    "openat": "return bool(open('f', 'w'))",
    "close": "r, w = os.pipe(); os.close(w); return os.read(r, 1) == b''",
    # glibc calls it from 2.39 on.
    "fstat": "import platform; buffer = ctypes.create_string_buffer(200)\n"
             "    if tuple(map(int, platform.libc_ver()[1].split('.'))) < (2, 39): return libc.syscall(5, 1, buffer) == 0\n"
             "    return bool(os.fstat(1))",
    "newfstatat": "return bool(os.stat('/'))",
    "access": "return os.access('.', os.W_OK)",
    "readlink": "return os.readlink('/tmp') != ''",
    "getdents64": "open('f', 'w'); return os.listdir() == ['f']",
    "getcwd": "return os.getcwd() != ''",
    "chdir": "os.chdir('/tmp'); return True",
    "statfs": "import shutil; return shutil.disk_usage('.').free > 0",
    "ftruncate": "f = open('f', 'wb'); f.truncate(5); return os.path.getsize('f') == 5",
    "mkdir": "os.mkdir('d'); return True",
    "rmdir": "os.mkdir('d'); os.rmdir('d'); return True",
    "unlink": "open('f', 'w'); os.unlink('f'); return True",
    "unlinkat": "import shutil; os.makedirs('d/e'); open('d/e/f', 'w'); shutil.rmtree('d'); return True",
    "rename": "open('f', 'w'); os.replace('f', 'g'); return True",
    "link": "import multiprocessing; return multiprocessing.Lock().acquire()",
    "chmod": "import shutil; open('f', 'w'); shutil.copy('f', 'g'); return True",
    "utimensat": "import shutil; open('f', 'w'); shutil.copy2('f', 'g'); return True",
    "dup2": "os.dup2(1, 50); return True",
    "pipe2": "return len(os.pipe()) == 2",
    "fcntl argument 1 is 0x406": "return os.dup(1) > 2",
    "fcntl argument 1 is 0x0": "import fcntl; return fcntl.fcntl(1, fcntl.F_DUPFD, 60) == 60",
    "fcntl argument 1 is 0x1": "return os.get_inheritable(1)",
    "fcntl argument 1 is 0x2": "import fcntl; return fcntl.fcntl(1, fcntl.F_SETFD, 0) == 0",
    "fcntl argument 1 is 0x3": "return os.get_blocking(1)",
    "fcntl argument 1 is 0x4": "import fcntl; return fcntl.fcntl(os.pipe()[0], fcntl.F_SETFL, os.O_NONBLOCK) == 0",
    # A journal that a crash left behind: sqlite3 asks whether its writer still lives.
    "fcntl argument 1 is 0x5": "import shutil, sqlite3; db = sqlite3.connect('a', isolation_level=None); db.execute('create table t (x)')\n"
             "    db.execute('pragma cache_size=1'); db.execute('begin'); db.executemany('insert into t values (?)', [('x' * 999,)] * 99)\n"
             "    shutil.copy('a', 'b'); shutil.copy('a-journal', 'b-journal')\n"
             "    return sqlite3.connect('b').execute('select count(*) from t').fetchone() == (0,)",
    "fcntl argument 1 is 0x408": "import fcntl; return fcntl.fcntl(os.pipe()[0], 1032) >= 4096",
    "ioctl argument 1 is 0x5451": "os.set_inheritable(1, False); return True",
    "ioctl argument 1 is 0x5450": "os.set_inheritable(os.pipe()[0], True); return True",
    "ioctl argument 1 is 0x5421": "os.set_blocking(os.pipe()[0], False); return True",
    "ioctl argument 1 is 0x541b": "import fcntl, struct; r, w = os.pipe(); os.write(w, b'abc')\n"
             "    return struct.unpack('i', fcntl.ioctl(r, 0x541b, bytes(4))) == (3,)",
    "mmap": "import mmap; return len(mmap.mmap(-1, 4096)) == 4096",
    "mprotect": "t = threading.Thread(target=print); t.start(); t.join(); return True",
    "munmap": "return all(len(bytearray(64 << 20)) for _ in range(100))",
    "mremap": "import mmap; m = mmap.mmap(-1, 4096); m.resize(8192); return len(m) == 8192",
    "brk": "libc.malloc.restype = ctypes.c_void_p; return all(ctypes.memset(libc.malloc(100000), 1, 100000) for _ in range(200))",
    "clone argument 0 is 0x3d0f00": "t = threading.Thread(target=print); t.start(); t.join(); return True",
    "clone argument 0 is 0x1200011": "pid = os.fork(); pid or os._exit(0); return os.waitpid(pid, 0)[1] == 0",
    "wait4": "pid = os.fork(); pid or os._exit(7); return os.waitpid(pid, 0)[1] == 7 << 8",
    "exit": "t = ctypes.c_ulong(); libc.pthread_create(ctypes.byref(t), None, libc.getpid, None); return libc.pthread_join(t, None) == 0",
    "exit_group": "pid = os.fork(); pid or os._exit(0); return os.waitpid(pid, 0)[1] == 0",
    # A mutex of the C library's that another thread holds.
    "futex argument 1 under 0xfffffe7f is 0x0": "mutex = ctypes.create_string_buffer(64); libc.pthread_mutex_lock(mutex)\n"
             "    t = threading.Thread(target=libc.pthread_mutex_lock, args=(mutex,)); t.start(); time.sleep(0.3)\n"
             "    libc.pthread_mutex_unlock(mutex); t.join(); return True",
    "futex argument 1 is 0x81": "e = threading.Event(); t = threading.Thread(target=e.wait); t.start(); time.sleep(0.3); e.set(); t.join(); return True",
    "futex argument 1 is 0x1": "import multiprocessing as mp; e = mp.Semaphore(0); p = mp.Process(target=e.acquire); p.start(); time.sleep(0.3)\n"
             "    e.release(); p.join(); return p.exitcode == 0",
    "futex argument 1 under 0xfffffe7f is 0x9": "return not threading.Event().wait(0.01)",
    "getpid": "return os.getpid() > 0",
    "prlimit64": "import resource; return len(resource.getrlimit(resource.RLIMIT_NOFILE)) == 2",
    "rt_sigaction": "import signal; return signal.signal(10, print) == signal.SIG_DFL",
    "rt_sigprocmask": "import signal; return signal.pthread_sigmask(signal.SIG_BLOCK, [10]) == set()",
    "rt_sigreturn": "import signal; seen = []; signal.signal(10, lambda *_: seen.append(1)); signal.raise_signal(10); return seen == [1]",
    "gettid": "return threading.get_native_id() == os.getpid()",
    "uname": "import platform; return platform.system() == 'Linux'",
    "getrandom": "return len(os.getrandom(8)) == 8",
    "clock_gettime": "return time.thread_time() > 0",
    "clock_nanosleep": "time.sleep(0.01); return True",
    "setitimer": "import signal; seen = []; signal.signal(signal.SIGALRM, lambda *_: seen.append(1)); signal.setitimer(signal.ITIMER_REAL, 0.2); end = time.monotonic() + 60\n"
             "    while not seen and time.monotonic() < end: time.sleep(0.1)\n"
             "    return seen == [1]",
    "sched_getaffinity": "return len(os.sched_getaffinity(0)) > 0",
    "getrusage": "import resource; return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss > 0",
    "poll": "import select; return select.poll().poll(0) == []",
    "pselect6": "import select; return select.select([], [], [], 0) == ([], [], [])",
    "socketpair": "import socket; return len(socket.socketpair()) == 2",
    "sendto": "import socket; a, b = socket.socketpair(); return a.send(b'abc') == 3",
    "recvfrom": "import socket; a, b = socket.socketpair(); os.write(a.fileno(), b'abc'); return b.recv(9) == b'abc'",
    "sendmsg": "import socket; a, b = socket.socketpair(); return a.sendmsg([b'abc']) == 3",
    "recvmsg": "import socket; a, b = socket.socketpair(); os.write(a.fileno(), b'abc'); return b.recvmsg(9)[0] == b'abc'",
    "kill": "import signal; seen = []; signal.signal(10, lambda *_: seen.append(1)); os.kill(os.getpid(), 10); return seen == [1]",
    "tgkill": "import signal; seen = []; signal.signal(10, lambda *_: seen.append(1)); signal.raise_signal(10); return seen == [1]",
}


@functools.cache
def printed_rows(build):
    """The rows that let a call through, as --without-call takes them."""
    text = subprocess.run(harness.command(build, MODES[0], "policy"), capture_output=True, text=True, check=True, env=harness.environment()).stdout
    rows = []
    for title in ("allowed", "the supervisor decides"):
        section = re.search(rf"System calls: {title}\n(.*?)(?:\n\n|\Z)", text, re.DOTALL).group(1)
        rows += [(name, condition) for name, _, condition in re.findall(r"^  (\w+) +(.*?)(?:; where (.*))?$", section, re.MULTILINE)]
    names = [name for name, _ in rows]
    return [f"{name} {condition}" if names.count(name) > 1 else name for name, condition in rows]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A server with the whole list, whose limits a busy machine does not reach."""
    directory = tmp_path_factory.mktemp("rows")
    limits = ("--limits.wall_ms", "300s", "--limits.cpu_ms", "300s")
    command = harness.command(ABLATION_BUILD, MODES[0], "serve", "--listen", f"unix:{directory}/socket", *limits)
    traces = harness.Traces()
    with open(directory / "log", "wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=harness.environment(), cwd="/")
    server = harness.Server(process, MODES[0], f"{directory}/socket", directory / "log")
    server.traces = traces
    yield server.wait_ready()
    server.stop()


def script(body):
    return f"{LIBC}def check():\n    {body}\ndef main():\n    return {{'right': check()}}\n"


def run_without(row, body):
    """The record of a run, or None where there was none: a jail that lacks what itself needs is tried again for ever."""
    flags = ("--limits.wall_ms=3s", "--grace-ms=1s", f"--without-call={row}")
    command = harness.command(ABLATION_BUILD, MODES[0], "run", "--json", "-", *flags)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=harness.environment(), cwd="/") as running:
        try:
            out = running.communicate(script(body).encode(), 10)[0]
        except subprocess.TimeoutExpired:
            running.terminate()
            out = running.communicate()[0]
    return json.loads(out) if out else None


def test_every_row_has_a_script():
    rows = printed_rows(BUILD)
    assert rows == printed_rows(ABLATION_BUILD)
    assert set(rows) <= set(ROWS)
    if any(row.startswith("wait4") for row in rows):  # where scripts may fork, the list is whole
        assert sorted(rows) == sorted(ROWS)


@pytest.mark.parametrize("row", ROWS)
def test_it_is_needed(whole, row):
    if row not in printed_rows(ABLATION_BUILD):
        pytest.skip("no processes here, and so not this row")
    record = whole.run(script(ROWS[row]))
    assert (record["status"], record["result"]) == ("ok", {"right": True}), record["error"]
    record = run_without(row, ROWS[row])
    assert not (record and record["status"] == "ok" and record["result"] == {"right": True}), "it works without"
