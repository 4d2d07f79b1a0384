"""Denials explained: each row of the policy that denies is tried by a raw system call; the record counts it and gives the row's words."""
import functools
import platform
import re

import pytest

import harness

RAW = """
import ctypes
def main(numbers):
    libc, out = ctypes.CDLL(None, use_errno=True), []
    for number in numbers:
        ctypes.set_errno(0)
        out.append([libc.syscall(ctypes.c_long(number), *[ctypes.c_long(0x7777)] * 6), ctypes.get_errno()])
    return {"out": out}
"""
EPERM = 1
AT_ONCE = 15  # a record keeps 16 kinds
HEADER = "/usr/include/x86_64-linux-gnu/asm/unistd_64.h"


@functools.cache
def numbers():
    with open(HEADER, encoding="ascii") as header:
        return {name: int(number) for name, number in re.findall(r"#define __NR_(\w+) (\d+)", header.read())}


def denied_rows(text):
    """name → words, of the rows without conditions."""
    section = re.search(r"System calls: denied, counted.*?\n(.*?)\n\n", text, re.DOTALL).group(1)
    rows = re.findall(r"^  (\w+) +(.*)$", section, re.MULTILINE)
    return {name: words for name, words in rows if "; where " not in words}


@pytest.mark.skipif(platform.machine() != "x86_64", reason="system call numbers of x86-64")
def test_every_row_that_denies(server, cli):
    rows = denied_rows(cli("policy", mode=server.mode).stdout.decode())
    assert len(rows) > 90
    names = sorted(rows)
    for start in range(0, len(names), AT_ONCE):
        some = names[start : start + AT_ONCE]
        record = server.run(RAW, input=[numbers()[name] for name in some])
        assert record["status"] == "ok", record["error"]
        assert all(value == -1 and error for value, error in record["result"]["out"]), list(zip(some, record["result"]["out"]))
        told = {re.sub(r"\(.*", "", each["what"]): (each["count"], each["hint"]) for each in record["denied"]}
        assert told == {name: (1, rows[name]) for name in some}


def test_a_call_that_no_row_names(server):
    record = server.run(RAW, input=[998])
    assert record["denied"] == [{"what": "system call 998", "count": 1, "hint": "not among the system calls that a script may make"}]


def test_kinds_past_the_sixteenth_are_told(server, cli):
    rows = sorted(denied_rows(cli("policy", mode=server.mode).stdout.decode()))[:20]
    record = server.run(RAW, input=[numbers()[name] for name in rows])
    assert len(record["denied"]) == 17
    assert record["denied"][-1]["what"] == "more calls" and record["denied"][-1]["hint"]


def test_a_record_is_its_own(server):
    """What one run was denied is in no other's record, and an honest run's is empty."""
    server.run(RAW, input=[numbers()["ptrace"]] * 70)
    assert server.run("def main():\n    return {}\n")["denied"] == []


def test_fork_is_explained_by_its_place(server):
    record = server.run(
        "import os\ndef main():\n    try:\n        pid = os.fork()\n    except OSError as error:\n        return {'errno': error.errno}\n"
        "    if pid == 0:\n        os._exit(0)\n    return {'status': os.waitpid(pid, 0)[1]}\n"
    )
    if server.can_fork:
        assert (record["result"], record["denied"]) == ({"status": 0}, [])
        return
    assert record["result"] == {"errno": EPERM}
    missing = "no pid namespace can be had" if "namespaces" not in server.layers else "no cgroup can be had that counts them"
    assert record["denied"] == [{"what": "fork", "count": 1, "hint": f"processes are limited to threads here because {missing}"}]


# Rows with a condition: arguments that break it are refused by the filter itself, also with the upper half of the register set, which the kernel
# does not look at where the argument has 32 bits. Name → errno, then the arguments of each attempt; PATH and BUFFER are addresses.

ENOSYS, EINVAL = 38, 22
PATH, BUFFER = "path", "buffer"
THREAD, FORK = 0x3D0F00, 0x1200011
NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET, NEWTIME = 0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000, 0x80
HIGH = (1 << 32, 1 << 63)
UNIX, INET, STREAM, DGRAM, SEQPACKET = 1, 2, 1, 2, 5
QUIETLY = {"sched_getaffinity"}  # refused without being counted: honest programs ask

VIOLATIONS = {
    "openat": (EPERM, [(-100, PATH, 0o102, mode) for mode in (0o4755, 0o2755, 0o6000)]),
    "chmod": (EPERM, [(PATH, 0o4755), (PATH, 0o2755)]),
    "unlinkat": (EPERM, [(-100, PATH, 0x100), (-100, PATH, 0x1000)]),
    "utimensat": (EPERM, [(-100, PATH, 0, 0x1000), (-100, PATH, 0, 0x400)]),
    "pipe2": (EPERM, [(BUFFER, 0o200), (BUFFER, 0o40000)]),  # O_NOTIFICATION_PIPE, O_DIRECT
    # F_SETOWN, F_GETOWN, F_SETSIG, F_SETOWN_EX, the locks of open files, leases, F_NOTIFY, F_SETPIPE_SZ, seals, hints
    "fcntl": (EINVAL, [(1, command, 0) for command in (8, 9, 10, 15, 36, 37, 38, 1024, 1025, 1026, 1031, 1033, 1034, 1036, 1038)]),
    # TIOCSTI, TIOCLINUX, TIOCSCTTY, TIOCSETD, TCSETS, SIOCGIFCONF, FIOASYNC, FS_IOC_SETFLAGS, NS_GET_USERNS, a tape's
    "ioctl": (EPERM, [(0, request, BUFFER) for request in (0x5412, 0x541C, 0x540E, 0x5423, 0x5402, 0x8912, 0x5452, 0x40086602, 0xB701, 0x40086D01)]),
    "mmap": (EPERM, [(0, 4096, 3, 0x22 | flag, -1, 0) for flag in (0x40000, 0x2000, 0x100)]),
    "mprotect": (EPERM, [(BUFFER, 4096, 1 | flag) for flag in (0x8, 0x1000000, 0x2000000)]),
    "mremap": (EPERM, [(BUFFER, 4096, 8192, 1 | 4, 0)]),
    "setitimer": (EPERM, [(1, BUFFER, 0), (2, BUFFER, 0)]),  # ITIMER_VIRTUAL, ITIMER_PROF
    "clone": (EPERM, [(flags, 0, 0, 0, 0) for flags in (17 | NEWUSER, 17 | NEWNS, 17 | NEWPID, 17 | NEWNET, 17 | NEWUTS, 17 | NEWIPC, 17 | NEWCGROUP,
                                                        NEWTIME, 17 | 0x8000, 17 | 0x4000 | 0x100, FORK | 0x2000, THREAD | NEWUSER, 17)]),
    # the operations of priority inheritance, requeueing, FUTEX_FD and FUTEX_WAKE_OP
    "futex": (ENOSYS, [(BUFFER, operation, 0, 0, BUFFER, 0) for operation in (2, 3, 4, 5, 6, 7, 8, 11, 12, 13, 0x86)]),
    "prlimit64": (EPERM, [(pid, 7, 0, BUFFER) for pid in (1, 2, -1)]),
    "getrandom": (EPERM, [(BUFFER, 8, 4), (BUFFER, 8, 8)]),
    "sched_getaffinity": (ENOSYS, [(pid, 8, BUFFER) for pid in (2, -1, 4000)]),
    "socketpair": (EPERM, [(INET, STREAM, 0, BUFFER), (UNIX, DGRAM, 0, BUFFER), (UNIX, SEQPACKET, 0, BUFFER), (16, 3, 0, BUFFER), (40, STREAM, 0, BUFFER)]),
    "sendto": (EPERM, [(1, BUFFER, 1, 1, 0, 0), (1, BUFFER, 1, 0x4000000, 0, 0), (1, BUFFER, 1, 0, BUFFER, 16)]),
    "recvfrom": (EPERM, [(1, BUFFER, 1, 1, 0, 0), (1, BUFFER, 1, 0x2000, 0, 0)]),
    "sendmsg": (EPERM, [(1, BUFFER, 1), (1, BUFFER, 0x4000000)]),
    "recvmsg": (EPERM, [(1, BUFFER, 1), (1, BUFFER, 0x2000)]),
    "socket": (EPERM, [(family, STREAM, 0) for family in (INET, 10, 16, 17, 38, 40)]),
}
VIOLATE = """
import ctypes, os
def main(attempts):
    libc, out = ctypes.CDLL(None, use_errno=True), []
    memory = {"path": ctypes.create_string_buffer(b"f"), "buffer": ctypes.create_string_buffer(1 << 16)}
    for number, arguments in attempts:
        words = [ctypes.c_uint64(ctypes.addressof(memory[each]) if each in memory else each) for each in arguments]
        ctypes.set_errno(0)
        value = libc.syscall(ctypes.c_long(number), *words)
        if number == 56 and value == 0:
            os._exit(99)
        out.append([value, ctypes.get_errno()])
    return {"out": out}
"""


def with_high_bits(arguments):
    """The arguments, and those with the upper half of each number set. Never clone's: its flags are compared whole anyhow."""
    yield list(arguments)
    for bit in HIGH:
        yield [each | bit if isinstance(each, int) and each > 0 else each for each in arguments]


@pytest.mark.skipif(platform.machine() != "x86_64", reason="system call numbers of x86-64")
@pytest.mark.parametrize("name", VIOLATIONS)
def test_a_broken_condition_is_refused(server, name):
    error, attempts = VIOLATIONS[name]
    every = [(numbers()[name], arguments) for each in attempts for arguments in with_high_bits(each)]
    record = server.run(VIOLATE, input=every[:60])
    assert record["status"] == "ok", record["error"]
    assert record["result"]["out"] == [[-1, error]] * len(every[:60]), list(zip(every, record["result"]["out"]))
    counts = [each["count"] for each in record["denied"] if re.sub(r"\(.*", "", each["what"]) in (name, "fork", "posix_spawn")]
    assert sum(counts) == (0 if name in QUIETLY else len(every[:60])), record["denied"]


def checked_calls(text):
    section = re.search(r"System calls: allowed\n(.*?)\n\n", text, re.DOTALL).group(1)
    return set(re.findall(r"^  (\w+) .*; where ", section, re.MULTILINE))


def test_every_condition_is_tried(server, cli):
    conditions = checked_calls(cli("policy", mode=server.mode).stdout.decode())
    assert len(conditions) >= 12
    assert conditions <= set(VIOLATIONS)


def test_the_documents_figure(server, cli):
    """doc/SECURITY-MODEL.md tells what holds where scripts may fork, which is the most there is."""
    if server.can_fork:
        told = cli("doctor", mode=server.mode).stdout.decode()
        assert "  cgroup      yes" in told, told
        allowed = re.search(r"(\d+) system calls allowed", told).group(1)
        text = (harness.REPOSITORY / "doc/SECURITY-MODEL.md").read_text(encoding="utf-8")
        assert f"| safe-script, a run | {allowed} |" in text
        checked = checked_calls(cli("policy", mode=server.mode).stdout.decode())
        assert f"{len(checked)} of them with checked arguments only" in text


# Another architecture's calls: their numbers mean something else, so the first ends the script.

MACHINE_CODE = """
import ctypes, mmap, os
def main(code):
    page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(bytes.fromhex(code))
    value = ctypes.CFUNCTYPE(ctypes.c_long)(ctypes.addressof(ctypes.c_char.from_buffer(page)))()
    return {"value": value, "pid": os.getpid()}
"""
GETPID = {
    "int 0x80": "b814000000" "cd80" "c3",  # mov eax, 20; int 0x80; ret
    "x32": "b827000040" "0f05" "c3",  # mov eax, 0x40000027; syscall; ret
}


@pytest.mark.skipif(platform.machine() != "x86_64", reason="machine code of x86-64")
@pytest.mark.parametrize("code", GETPID.values(), ids=GETPID)
def test_other_architectures_are_dead(server, code):
    record = server.run(MACHINE_CODE, input=code)
    assert (record["status"], record["result"]) == ("killed", None)
    assert "SIGSYS" in record["error"]["message"]


@pytest.mark.skipif(platform.machine() != "x86_64", reason="machine code of x86-64")
def test_machine_code_itself_runs(server):
    """So that the test above is no blank: the same by the native way gives the pid."""
    result = server.result(MACHINE_CODE, input="b827000000" "0f05" "c3")
    assert result["value"] == result["pid"]


# The word by which the jail's own code asks to be ended (policy.h, RUN_ENDS).

END = """
import ctypes, errno, os, threading
END, NUMBER = 0x656e64206f662072, {"x86_64": 48, "aarch64": 210}[os.uname().machine]
def end(status):
    libc = ctypes.CDLL(None, use_errno=True)
    done = libc.syscall(ctypes.c_long(NUMBER), ctypes.c_long(END), ctypes.c_long(status))
    return errno.errorcode[ctypes.get_errno()] if done else "OK"
"""


@pytest.mark.parametrize("status", [0, 1])
def test_a_script_that_asks_to_be_ended_has_exited(server, status):
    record = server.run(END + f"def main():\n    print('so far', flush=True)\n    end({status})\n    return {{}}\n")
    assert record["status"] == "exited", record
    assert f"script exited with status {status} before main() returned" in record["error"]["message"]
    assert record["stdout"] == "so far\n"
    server.assert_serves()


def test_nobody_else_in_a_jail_can_end_it(server):
    """With another status it is a denial like any; so it is from a thread, or from a process that a script has made."""
    script = END + """
def main():
    seen = {"status": end(7)}
    thread = threading.Thread(target=lambda: seen.update(thread=end(0)))
    thread.start()
    thread.join()
    try:
        child = os.fork()
    except OSError:
        child = None
    if child == 0:
        os._exit(0 if end(0) == "EPERM" else 3)
    if child:
        seen["child"] = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return seen
"""
    record = server.run(script)
    assert record["status"] == "ok", record
    assert record["result"] in ({"status": "EPERM", "thread": "EPERM", "child": 0}, {"status": "EPERM", "thread": "EPERM"})
