"""Denials explained: each row of the policy that denies is tried by a raw system call; the record counts it and gives the row's words."""
import functools
import platform
import re

import pytest

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
