"""A first set of escape attempts over HTTP: what THREATS.md says must happen, happens, and the next run is clean.

The attempts are harmless where they succeed (signal 0, bounded bombs, opens without writes), so that a broken jail fails
this suite and not the machine.
"""
import hashlib
import inspect
import os
import pathlib
import platform
import socket
import stat
import textwrap

import pytest

import harness
from harness import background, spin, wait_until

ATTEMPT = """
import ctypes, errno, os, sys
def attempt(call, *args, **options):
    "E:name for an errno, X:class for another exception, OK:… for a success"
    try:
        value = call(*args, **options)
    except OSError as error:
        return "E:" + errno.errorcode.get(error.errno, str(error.errno))
    except Exception as error:
        return "X:" + type(error).__name__
    return "OK:" + repr(value)[:200]
"""


@pytest.fixture(autouse=True)
def the_next_run_is_clean(server):
    yield
    server.assert_serves()


def attempts(server, *calls, prelude="", **options):
    """Runs each expression `attempt(...)` in one script; call → outcome."""
    lines = "\n".join(f"        out[{call!r}] = attempt({call})" for call in calls)
    script = f"{ATTEMPT}\n{prelude}\ndef main():\n    out = {{}}\n    if True:\n{lines}\n    return out\n"
    return server.result(script, **options)


def assert_refused(outcomes):
    succeeded = {call: outcome for call, outcome in outcomes.items() if not outcome.startswith("E:")}
    assert not succeeded, succeeded


# Reading and writing the host.

UNREADABLE = ("/etc/passwd", "/etc/shadow", "/etc/hostname", "/etc/hosts", "/etc/ssh/sshd_config", "/proc/1/environ", "/proc/1/mem", "/proc/1/root/etc/passwd",
              "/proc/self/exe", "/proc/self/root/etc/passwd", "/proc/kcore", "/proc/kallsyms", "/proc/sys/kernel/hostname", "/sys/kernel/notes",
              "/sys/fs/cgroup/cgroup.procs", "/dev/mem", "/dev/kmsg", "/dev/sda", "/dev/vda", "/dev/tty", "/dev/ptmx", "/dev/fuse",
              "/dev/kvm", "/root/.bashrc", "/var/log/syslog", "/run/docker.sock", "/box/../etc/passwd", "../../../etc/passwd",
              "/safe-script/../etc/passwd", "/usr/../etc/passwd", "/tmp/../etc/passwd", "//etc/passwd")


def test_reading_the_host(server):
    assert_refused(attempts(server, *(f"open, {path!r}, 'rb'" for path in UNREADABLE if server.has_tmpfs or path != "/proc/self/exe")))


def test_reading_the_servers_own_files(server, builds, public_dir):
    (public_dir / "secret").write_text("secret of the host")
    paths = [public_dir / "secret", server.log, builds[server.mode] / "safe-script", harness.REPOSITORY / "meson.build",
             f"/proc/{server.pid}/environ", f"/proc/{server.pid}/cwd/etc/passwd", f"/proc/{server.front().pid}/maps"]
    assert_refused(attempts(server, *(f"open, {str(path)!r}, 'rb'" for path in paths)))
    assert_refused(attempts(server, f"os.listdir, {str(public_dir)!r}", "os.listdir, '/root'", "os.listdir, '/home'", "os.listdir, '/var'"))


def test_no_descriptor_leads_outside(server):
    outcome = server.result(
        f"{ATTEMPT}\ndef main():\n    return {{'reached': [fd for fd in range(256) for path in ('etc/passwd', '../etc/passwd', '../../../etc/passwd')"
        " if attempt(os.open, path, os.O_RDONLY, dir_fd=fd).startswith('OK')]}\n"
    )
    assert outcome == {"reached": []}


SHOWN_FILES = ("/etc/ld.so.cache", "/etc/timezone", "/etc/mime.types", "/etc/ssl/openssl.cnf", "/etc/matplotlibrc", "/etc/fonts/fonts.conf")
SHOWN_DIRECTORIES = ("/etc/fonts", "/etc/alternatives", "/etc/ssl/certs", "/usr/share/fontconfig", "/usr/share/zoneinfo")


def test_shown_files_are_the_host_s(server):
    """Their text, size, rights and times, whether they are mounted or copied; and no way to change them."""
    here = [path for path in SHOWN_FILES if os.path.isfile(path)]
    assert here
    result = server.result(
        """
        import hashlib, os
        def refusal(call, *args):
            try:
                call(*args)
            except OSError as error:
                return error.errno
        def look(path):
            refused = refusal(open, path, "ab") and refusal(os.unlink, path)
            refusal(os.chmod, path, 0o666)  # where a run has no root of its own it passes, and the mode stays
            status = os.stat(path)
            return [hashlib.sha256(open(path, "rb").read()).hexdigest(), status.st_size, status.st_mode, status.st_mtime_ns,
                    status.st_uid == 1000, bool(refused)]
        def main(paths):
            return {path: look(path) for path in paths}
        """,
        input=here,
    )
    for path in here:
        text, status = pathlib.Path(path).read_bytes(), os.stat(path)
        assert result[path] == [hashlib.sha256(text).hexdigest(), len(text), status.st_mode, status.st_mtime_ns, False, True], path


def test_shown_directories_are_the_host_s(server):
    def look(top):
        for directory, names, files in os.walk(top):
            for name in names + files:
                path = os.path.join(directory, name)
                status = os.lstat(path)
                is_link = stat.S_ISLNK(status.st_mode)
                yield path, [status.st_mode, os.readlink(path) if is_link else status.st_mtime_ns, stat.S_ISREG(status.st_mode) and status.st_size]

    here = [path for path in SHOWN_DIRECTORIES if os.path.isdir(path)]
    script = "import os, stat\n" + textwrap.dedent(inspect.getsource(look)) + "def main(tops):\n    return {top: dict(look(top)) for top in tops}\n"
    assert here and server.result(script, input=here) == {top: dict(look(top)) for top in here}


UNWRITABLE = ("/usr/left-behind", "/usr/lib/left-behind", "/etc/left-behind", "/left-behind", "/dev/left-behind", "/safe-script/left-behind",
              "/bin/left-behind", "/lib/left-behind", "/proc/left-behind", "/var/tmp/left-behind", "/root/left-behind")


def test_writing_the_host(server):
    assert_refused(attempts(server, *(f"open, {path!r}, 'ab'" for path in UNWRITABLE)))
    assert not any(os.path.exists(path) for path in UNWRITABLE)


# Where runs share a uid such calls are answered, and nothing is done.
CHANGED = """
def changed(call, path, argument):
    before = os.stat(path)
    call(path, argument)
    after = os.stat(path)
    if (before.st_mode, before.st_mtime) == (after.st_mode, after.st_mtime):
        raise PermissionError(errno.EPERM, "answered, and not done")
"""


def test_the_standard_library_and_interpreter_are_read_only(server):
    calls = ["open, os.__file__, 'ab'", "open, sys.executable, 'ab'", "open, ctypes.__file__, 'r+b'", "os.unlink, os.__file__",
             "os.rename, os.__file__, os.__file__ + 'x'", "changed, os.chmod, os.__file__, 0o777", "changed, os.utime, os.__file__, None",
             "os.truncate, os.__file__, 10**9", "os.link, os.__file__, 'linked'", "os.mkdir, os.path.dirname(os.__file__) + '/left-behind'"]
    assert_refused(attempts(server, *calls, prelude=CHANGED))


def test_our_own_code_in_the_jail_is_read_only(server):
    calls = [f"open, '/safe-script/{name}', 'ab'" for name in ("bootstrap.py", "_safe_script.abi3.so")] + ["os.rename, '/safe-script', '/box/x'"]
    assert_refused(attempts(server, *calls))


def test_setuid_bits_and_devices(server):
    outcome = server.result(
        f"{ATTEMPT}\nimport stat\ndef main():\n    open('f', 'w').close()\n    attempt(os.chmod, 'f', 0o6755)\n"
        "    return {'nosuid': attempt(lambda: bool(os.statvfs('.').f_flag & os.ST_NOSUID)), 'mode': stat.S_IMODE(os.stat('f').st_mode) & 0o6000,\n"
        "            'null': attempt(os.mknod, 'n', stat.S_IFCHR | 0o666, os.makedev(1, 3)), 'disk': attempt(os.mknod, 'd', stat.S_IFBLK | 0o666, os.makedev(8, 0))}\n"
    )
    assert outcome["mode"] == 0 or outcome["nosuid"] == "OK:True", outcome
    assert outcome["null"].startswith("E:") and outcome["disk"].startswith("E:")


def test_links_lead_nowhere(server):
    calls = ["os.symlink, '/etc/passwd', 'l'", "open, 'l'", "os.symlink, '/', 'r'", "open, 'r/etc/passwd'", "os.link, '/etc/passwd', 'h'", "open, 'h'"]
    outcomes = attempts(server, *calls)
    assert_refused({call: outcome for call, outcome in outcomes.items() if not call.startswith("os.symlink")})


# The network.


def test_every_kind_of_socket(server):
    families = {"AF_INET": 2, "AF_INET6": 10, "AF_NETLINK": 16, "AF_PACKET": 17, "AF_ALG": 38, "AF_VSOCK": 40, "AF_KEY": 15, "AF_BLUETOOTH": 31,
                "AF_XDP": 44, "AF_TIPC": 30, "AF_CAN": 29, "AF_RDS": 21}
    calls = [f"socket.socket, {number}, {kind}" for number in families.values() for kind in (1, 2, 3, 5)]
    calls += ["socket.socket, 2, 1, 262", "socket.socket, 2, 3, 1"]  # MPTCP; ICMP
    assert_refused(attempts(server, *calls, prelude="import socket"))


def test_nothing_that_listens_can_be_reached(server, public_dir):
    path = str(public_dir / "listener")
    name = f"\0api-tests-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as at_path, socket.socket(socket.AF_UNIX) as abstract:
        at_path.bind(path)
        os.chmod(path, 0o777)
        abstract.bind(name)
        for listener in (at_path, abstract):
            listener.listen()
            listener.settimeout(0.2)
        prelude = "import socket\ndef connect(family, address):\n    s = socket.socket(family)\n    s.settimeout(5)\n    s.connect(address)\n"
        calls = [f"connect, socket.AF_INET, ('127.0.0.1', {server.port})", f"connect, socket.AF_INET6, ('::1', {server.port})",
                 "connect, socket.AF_INET, ('169.254.169.254', 80)", f"connect, socket.AF_UNIX, {path!r}", f"connect, socket.AF_UNIX, {name!r}"]
        assert_refused(attempts(server, *calls, prelude=prelude))
        for listener in (at_path, abstract):
            with pytest.raises((TimeoutError, socket.timeout)):
                listener.accept()


def test_names_and_urls(server):
    outcomes = attempts(server, "socket.getaddrinfo, 'example.com', 80", "urllib.request.urlopen, 'http://127.0.0.1/'", prelude="import socket, urllib.request")
    assert_refused(outcomes)


# Other processes.


def test_signals_to_others(server):
    """Signal 0 asks only whether it could be sent. As the only process in its pid namespace kill(-1) finds nobody."""
    pids = [server.pid, server.front().pid, *(zygote.pid for zygote in server.zygotes()), os.getpid(), -1]
    assert_refused(attempts(server, *(f"os.kill, {pid}, 0" for pid in pids)))


def test_scheduling_of_others(server):
    pids = (server.pid, os.getpid())
    calls = [f"os.setpriority, os.PRIO_PROCESS, {pid}, 19" for pid in pids] + [f"os.sched_setaffinity, {pid}, [0]" for pid in pids]
    calls += [f"os.getpgid, {pid}" for pid in pids] + ["os.setpriority, os.PRIO_PROCESS, 0, -20", "os.nice, -5"]
    assert_refused(attempts(server, *calls))


def test_no_new_programs(server):
    calls = [f"os.execv, {path!r}, ['x']" for path in ("/bin/sh", "/usr/bin/python3", "/bin/true", "/usr/bin/env")]
    calls += ["os.execv, sys.executable or '/usr/bin/python3', ['x', '-c', '1']", "subprocess.run, ['/bin/true']", "subprocess.run, 'true', shell=True",
              "os.posix_spawn, '/bin/true', ['true'], {}"]
    outcomes = attempts(server, *calls, prelude="import subprocess")
    assert not [call for call, outcome in outcomes.items() if outcome.startswith("OK")], outcomes


def test_a_bounded_fork_bomb(server):
    before = len(server.children())
    record = server.run(
        """
        import os, time
        def main():
            n = 0
            try:
                for _ in range(8):
                    n += 1
                    os.fork()
            except OSError:
                pass
            time.sleep(0.5)
            return {"n": n}
        """
    )
    assert record["status"] in ("ok", "process_limit", "script_error", "exited"), record["error"]
    wait_until(lambda: len(server.children()) <= before + 4, "the end of the bomb")


# System calls that no script needs: refused by the filter (EPERM, ENOSYS, EACCES) or deadly, whatever their arguments.

NEWUSER, NEWNS, NEWNET, NEWPID, SIGCHLD = 0x10000000, 0x00020000, 0x40000000, 0x20000000, 17
CALLS = {
    "ptrace(TRACEME)": (101, 0, 0, 0, 0),
    "ptrace(ATTACH)": (101, 16, 1, 0, 0),
    "process_vm_readv": (310, 1, 0, 0, 0, 0, 0),
    "process_vm_writev": (311, 1, 0, 0, 0, 0, 0),
    "pidfd_getfd": (438, 0, 0, 0),
    "kcmp": (312, 1, 1, 0, 0, 0),
    "unshare(NEWUSER)": (272, NEWUSER),
    "unshare(NEWNS)": (272, NEWNS),
    "unshare(NEWNET)": (272, NEWNET),
    "unshare(NEWPID)": (272, NEWPID),
    "clone(NEWUSER)": (56, NEWUSER | SIGCHLD, 0, 0, 0, 0),
    "clone(NEWNET)": (56, NEWNET | SIGCHLD, 0, 0, 0, 0),
    "clone3": (435, 0, 0),
    "setns": (308, 0, 0),
    "mount": (165, 0, 0, 0, 0, 0),
    "umount2": (166, 0, 0),
    "pivot_root": (155, 0, 0),
    "chroot": (161, 0),
    "move_mount": (429, -1, 0, -1, 0, 0),
    "open_tree": (428, -1, 0, 0),
    "fsopen": (430, 0, 0),
    "fsmount": (432, -1, 0, 0),
    "mount_setattr": (442, -1, 0, 0, 0, 0),
    "open_by_handle_at": (304, -1, 0, 0),
    "name_to_handle_at": (303, -1, 0, 0, 0, 0),
    "bpf": (321, 0, 0, 0),
    "io_uring_setup": (425, 1, 0),
    "io_uring_enter": (426, 0, 0, 0, 0, 0, 0),
    "perf_event_open": (298, 0, 0, -1, -1, 0),
    "userfaultfd": (323, 0),
    "keyctl": (250, 0, -3, 0, 0, 0),
    "add_key": (248, 0, 0, 0, 0, -3),
    "request_key": (249, 0, 0, 0, 0),
    "modify_ldt": (154, 0, 0, 0),
    "personality(ADDR_NO_RANDOMIZE)": (135, 0x0040000),
    "splice": (275, 0, 0, 1, 0, 0, 0),
    "vmsplice": (278, 1, 0, 0, 0),
    "tee": (276, 0, 1, 0, 0),
    "shmget": (29, 0, 4096, 0o1600),
    "semget": (64, 0, 1, 0o1600),
    "msgget": (68, 0, 0o1600),
    "mq_open": (240, 0, 0, 0, 0),
    "fanotify_init": (300, 0, 0),
    "init_module": (175, 0, 0, 0),
    "finit_module": (313, -1, 0, 0),
    "kexec_load": (246, 0, 0, 0, 0xFFFF),
    "reboot": (169, 0, 0, 0, 0),
    "swapon": (167, 0, 0),
    "sethostname": (170, 0, -1),
    "settimeofday": (164, 0, 0),
    "iopl": (172, 3),
    "ioperm": (173, 0, 1, 1),
    "quotactl": (179, 0, 0, 0, 0),
    "syslog": (103, 2, 0, 0),
    "setuid(0)": (105, 0),
    "setgid(0)": (106, 0),
    "setresuid(0, 0, 0)": (117, 0, 0, 0),
    "setgroups": (116, 0, 0),
    "capset": (126, 0, 0),
    "move_pages": (279, 1, 0, 0, 0, 0, 0),
    "migrate_pages": (256, 1, 0, 0, 0),
    "memfd_secret": (447, 0),
    "prctl(SET_PDEATHSIG)": (157, 1, 0, 0, 0, 0),
    "prctl(SET_DUMPABLE)": (157, 4, 1, 0, 0, 0),
    "ioctl(TIOCSTI)": (16, 0, 0x5412, 0),
    "ioctl(TIOCSTI, high bits set)": (16, 0, 0x5412 | 1 << 32, 0),
    "ioctl(TIOCLINUX)": (16, 0, 0x541C, 0),
    "x32 getpid": (39 | 0x40000000,),
    "no such call": (1000,),
}
CALL = ATTEMPT + """
def main(numbers):
    libc = ctypes.CDLL(None, use_errno=True)
    returned = libc.syscall(*map(ctypes.c_long, numbers))
    if numbers[0] == 56 and returned == 0:
        os._exit(99)
    number = ctypes.get_errno()
    return {"returned": returned, "errno": errno.errorcode.get(number, str(number))}
"""


@pytest.mark.skipif(platform.machine() != "x86_64", reason="system call numbers of x86-64")
@pytest.mark.parametrize("numbers", CALLS.values(), ids=CALLS)
def test_system_call(server, numbers):
    record = server.run(CALL, input=list(numbers))
    if record["status"] == "killed":
        assert "SIGSYS" in record["error"]["message"] or "SIGKILL" in record["error"]["message"]
        return
    assert record["status"] == "ok", record["error"]
    assert record["result"]["returned"] == -1, record["result"]
    assert record["result"]["errno"] in ("EPERM", "ENOSYS", "EACCES"), record["result"]


# Forged results: the script wrote, closed or replaced what it could. A failed run is never a success.

FORGERY = """
import builtins, json, os, struct, sys, atexit, threading, time
def frame(tag, data): return struct.pack("=II", tag, len(data)) + data
FORGED = frame(1, bytes(16)) + frame(8, b'{"forged":1}') + frame(7, b"")
def write_everywhere(data):
    for fd in range(256):
        try:
            os.write(fd, data)
        except OSError:
            pass
"""
FORGERIES = {
    "a frame everywhere, exit 0": "def main():\n    write_everywhere(FORGED)\n    os._exit(0)\n",
    "a frame everywhere, exit 1": "def main():\n    write_everywhere(FORGED)\n    os._exit(1)\n",
    "a frame everywhere, raise": "def main():\n    write_everywhere(FORGED)\n    raise ValueError('after')\n",
    "a frame everywhere, return None": "def main():\n    write_everywhere(FORGED)\n",
    "a frame everywhere, killed": "def main():\n    write_everywhere(FORGED)\n    os.kill(os.getpid(), 9)\n",
    "a frame at the top": "write_everywhere(FORGED)\nos._exit(0)\ndef main(): pass\n",
    "JSON everywhere, exit 0": "def main():\n    write_everywhere(b'{\"forged\":1}')\n    os._exit(0)\n",
    "half a frame": "def main():\n    write_everywhere(FORGED[:20])\n    os._exit(0)\n",
    "half a frame, raise": "def main():\n    write_everywhere(FORGED[:20])\n    raise ValueError\n",
    "a length of 2^32 - 1": "def main():\n    write_everywhere(struct.pack('=II', 8, 2**32 - 1))\n    os._exit(0)\n",
    "zeros": "def main():\n    write_everywhere(bytes(4096))\n    os._exit(0)\n",
    "close everything, exit 0": "def main():\n    os.closerange(0, 4096)\n    os._exit(0)\n",
    "close everything, return": "def main():\n    os.closerange(0, 4096)\n    return {'a': 1}\n",
    "stdout over the channel": "def main():\n    os.dup2(1, 3)\n    return {'a': 1}\n",
    "channel over stdout": "def main():\n    os.dup2(3, 1)\n    print('{\"forged\":1}', flush=True)\n    return {'a': 1}\n",
    "a file over the channel": "def main():\n    os.dup2(os.open('f', os.O_CREAT | os.O_RDWR), 3)\n    return {'a': 1}\n",
    "exit in a key's __str__": "class K(str):\n    def __str__(self): os._exit(0)\n    __repr__ = __hash__ = None\nclass D(dict):\n    def items(self): os._exit(0)\n    keys = __iter__ = __len__ = items\ndef main():\n    return {'a': D(b=object())}\n",
    "exit in an exception's __str__": "class E(Exception):\n    def __str__(self): os._exit(0)\n    __repr__ = __str__\ndef main():\n    raise E('x')\n",
    "an exception's __str__ raises": "class E(Exception):\n    def __str__(self): raise self\n    __repr__ = __str__\ndef main():\n    raise E('x')\n",
    "an exception's __str__ is no text": "class E(Exception):\n    def __str__(self): return 5\ndef main():\n    raise E('x')\n",
    "an exception's __module__ is hostile": "class M:\n    def __str__(self): os._exit(0)\n    __repr__ = __eq__ = __str__\nclass E(Exception): pass\nE.__module__ = M()\nE.__qualname__ = 'x' * 10**6\ndef main():\n    raise E('x')\n",
    "json is patched": "json.dumps = lambda *a, **k: '{\"forged\":1}'\njson.JSONEncoder.encode = json.JSONEncoder.iterencode = json.dumps\ndef main():\n    return {'a': {1}}\n",
    "builtins are patched": "builtins.isinstance = lambda *a: True\nbuiltins.type = builtins.dict = builtins.repr = lambda *a: '{\"forged\":1}'\ndef main():\n    return {1}\n",
    "sys.modules is patched": "sys.modules['json'] = sys.modules['script'] = sys.modules['_safe_script'] = None\ndef main():\n    return [1]\n",
    "sys.exit is patched": "os._exit = sys.exit = lambda *a: None\ndef main():\n    raise ValueError\n",
    "hooks": "sys.excepthook = lambda *a: os._exit(0)\nthreading.excepthook = sys.excepthook\ndef main():\n    raise ValueError\n",
    "a trace function": "sys.settrace(lambda *a: os._exit(0))\ndef main():\n    raise ValueError\n",
    "a profiler": "def main():\n    sys.setprofile(lambda *a: os._exit(0))\n    raise ValueError\n",
    "atexit, then raise": "atexit.register(lambda: os._exit(0))\ndef main():\n    raise ValueError\n",
    "stdout that exits": "class O:\n    def write(self, text): os._exit(0)\n    def flush(self): os._exit(0)\nsys.stdout = sys.stderr = O()\ndef main():\n    raise ValueError\n",
    "a thread that exits": "def main():\n    threading.Thread(target=lambda: os._exit(0)).start()\n    time.sleep(60)\n",
    "SystemExit(0)": "def main():\n    raise SystemExit(0)\n",
    "GeneratorExit": "def main():\n    raise GeneratorExit\n",
}


@pytest.mark.parametrize("body", FORGERIES.values(), ids=FORGERIES)
def test_forgery(server, body):
    record = server.run(FORGERY + body)
    assert record["status"] not in ("ok", "lost"), record
    assert record["result"] is None
    assert record["error"]["type"]
    answer = server.execute(FORGERY + body)
    assert answer.status == 400
    assert answer.error
    assert "result" not in answer.json


HONEST = {
    "garbage first, then a result": "def main():\n    write_everywhere(b'garbage')\n    return {'a': 1}\n",
    "a frame first, then a result": "def main():\n    write_everywhere(FORGED)\n    return {'a': 1}\n",
    "a thread that writes on": "def run():\n    while True:\n        write_everywhere(FORGED)\ndef main():\n    threading.Thread(target=run, daemon=True).start()\n    return {'a': 1}\n",
    "atexit that exits": "atexit.register(lambda: os._exit(0))\ndef main():\n    return {'a': 1}\n",
    "the dict changes while it is read": "d = {str(i): i for i in range(1000)}\ndef run():\n    while True:\n        d.clear()\n        d.update(a=1)\ndef main():\n    threading.Thread(target=run, daemon=True).start()\n    return d\n",
    "print from __del__": "class D:\n    def __del__(self): write_everywhere(FORGED)\nd = D()\ndef main():\n    return {'a': 1}\n",
}


@pytest.mark.parametrize("body", HONEST.values(), ids=HONEST)
def test_a_result_beside_a_forgery_is_the_true_one_or_none(server, body):
    record = server.run(FORGERY + body)
    assert record["status"] != "lost"
    assert "forged" not in str(record["result"])
    if record["status"] == "ok":
        assert record["result"] == {"a": 1} or set(record["result"]) <= {"a", *map(str, range(1000))}


# Neighbours.


def test_a_memory_bomb_does_not_touch_its_neighbour(server):
    bomb = "def main():\n    kept = [b'x' * (16 << 20) for _ in range(64)]\n    return {}\n"
    neighbour = background(server.execute, spin(2))
    bombs = [background(server.run, bomb, limits={"memory_bytes": 64 << 20}) for _ in range(4)]
    assert neighbour.result(60).json["result"] == {"done": True}
    assert [each.result(60)["status"] for each in bombs] == ["memory_limit"] * 4


NEIGHBOURS = {
    "threads": "import threading, time\ndef main():\n    while True:\n        threading.Thread(target=time.sleep, args=(9,), daemon=True).start()\n",
    "descriptors": "import os\ndef main():\n    while True:\n        os.dup(1)\n",
    "disk": "def main():\n    with open('f', 'wb') as f:\n        while True:\n            f.write(bytes(1 << 20))\n",
    "inodes": "def main():\n    n = 0\n    while True:\n        n += 1\n        open(str(n), 'w').close()\n",
    "pipes": "import os\ndef main():\n    kept = []\n    while True:\n        r, w = os.pipe()\n        kept += [r, w]\n        os.set_blocking(w, False)\n        os.write(w, bytes(60000))\n",
    "output": "def main():\n    while True: print('x' * 10000)\n",
}


@pytest.mark.parametrize("script", NEIGHBOURS.values(), ids=NEIGHBOURS)
def test_exhaustion_does_not_touch_its_neighbour(server, script):
    neighbour = background(server.execute, spin(1))
    culprit = background(server.run, script, limits={"wall_ms": 5000})
    assert neighbour.result(60).json["result"] == {"done": True}
    assert culprit.result(60)["status"] != "ok"


# From run to run.


def test_nothing_passes_from_run_to_run(server):
    leave = ATTEMPT + """
def main():
    for top, directories, _ in os.walk("/"):
        if top.startswith(("/proc", "/sys", "/usr", "/lib")):
            directories.clear()
            continue
        attempt(lambda: open(os.path.join(top, "passed-on"), "w").write("1"))
    libc = ctypes.CDLL(None, use_errno=True)
    return {"shm": libc.shmget(4711, 4096, 0o1666), "sem": libc.semget(4711, 1, 0o1666), "msg": libc.msgget(4711, 0o1666)}
"""
    find = ATTEMPT + """
def main():
    found = [top for top, directories, files in os.walk("/") if "passed-on" in files]
    libc = ctypes.CDLL(None, use_errno=True)
    return {"found": found, "shm": libc.shmget(4711, 4096, 0), "sem": libc.semget(4711, 1, 0), "msg": libc.msgget(4711, 0)}
"""
    for _ in range(3):
        server.result(leave)
    for _ in range(4):
        assert server.result(find) == {"found": [], "shm": -1, "sem": -1, "msg": -1}


def test_concurrent_runs_do_not_see_each_other(server):
    script = ATTEMPT + """
import tempfile, time
def main(number):
    work = os.getcwd()
    open("mine", "w").write(str(number))
    os.chdir(tempfile.gettempdir())
    open("mine", "w").write(str(number))
    time.sleep(0.3)
    return {"n": [open("mine").read(), open(work + "/mine").read()], "listing": os.listdir(work), "tmp": os.listdir(".")}
"""
    futures = [background(server.result, script, input=number) for number in range(6)]
    for number, future in enumerate(futures):
        assert future.result(60) == {"n": [str(number)] * 2, "listing": ["mine"], "tmp": ["mine"]}


def test_identity(server):
    result = server.result("import os\ndef main():\n    return {'uid': os.getuid(), 'euid': os.geteuid(), 'gid': os.getgid(), 'groups': os.getgroups(), 'host': os.uname().nodename}\n")
    assert 0 not in (result["uid"], result["euid"], result["gid"])
    assert set(result["groups"]) <= {result["gid"], 65534}
    if "namespaces" in server.layers:
        assert result["host"] != socket.gethostname()
