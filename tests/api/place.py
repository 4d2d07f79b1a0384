"""The server's own protocol, written byte by byte by tests that take the place of one of its processes (wire.h, frames.h)."""
import array
import fcntl
import json
import os
import pathlib
import select
import shutil
import socket
import struct
import subprocess
from typing import NamedTuple

import harness
from harness import BUILD, PATIENCE

STAND_IN = BUILD / "tests" / "api" / "stand_in"
MAGIC = 0x53530000
SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
NONCE, SCRIPT, INPUT, FILE_PATH, FILE_DATA, GLOB, END, RESULT = range(1, 9)


class Layout:
    def __init__(self):
        table = json.loads(subprocess.run([STAND_IN, "--layout"], check=True, capture_output=True, timeout=PATIENCE).stdout)
        self.messages, self.causes = table["messages"], table["causes"]
        self.limits = table["limits"]
        self.bytes, self.fds, self.owners = table["bytes"], table["fds"], table["owners"]
        self.names = {row["type"]: name for name, row in self.messages.items()}

    def write(self, name, **fields):
        """The whole message. A field is a number, or its bytes."""
        row = self.messages[name]
        body = bytearray(row["size"])
        for field, value in fields.items():
            offset, size = row[field]
            body[offset : offset + size] = value if isinstance(value, bytes) else value.to_bytes(size, "little")
        return self.header(row["type"], len(body)) + bytes(body)

    @staticmethod
    def header(kind, size):
        return struct.pack("=II", MAGIC | kind, size)

    def about(self, message):
        """The id that a message is about, None for one about none."""
        return self.read(message.data, message.name, "id") if "id" in self.messages.get(message.name, ()) else None

    def read(self, data, name, field):
        offset, size = self.messages[name][field]
        return int.from_bytes(data[8 + offset : 8 + offset + size], "little")


class Message(NamedTuple):
    name: str
    data: bytes
    fds: list


def frame(tag, data=b""):
    return struct.pack("=II", tag, len(data)) + data


def job(script, *more, nonce=b"n" * 16):
    return frame(NONCE, nonce) + frame(SCRIPT, script.encode()) + b"".join(more) + frame(END)


def frames(report):
    """{tag: data} of a report; the last of each tag."""
    found, at = {}, 0
    while at + 8 <= len(report):
        tag, length = struct.unpack_from("=II", report, at)
        found[tag] = report[at + 8 : at + 8 + length]
        at += 8 + length
    return found


def memory_file(data=b"", seals=SEALS, size=None):
    fd = os.memfd_create("job", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.write(fd, data)
    os.lseek(fd, 0, os.SEEK_SET)
    if size is not None:
        os.ftruncate(fd, size)
    if seals:
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
    return fd


class Place:
    """One end of a connection of the protocol."""

    def __init__(self, layout, connected):
        self.layout, self.socket = layout, connected

    def send(self, data, fds=()):
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        self.socket.sendmsg([data], rights)

    def say(self, name, *fds, **fields):
        self.send(self.layout.write(name, **fields), fds)

    def hear(self, seconds=PATIENCE):
        """The next message, None when the other side has gone."""
        if not select.select([self.socket], [], [], seconds)[0]:
            raise AssertionError(f"no message within {seconds} s")
        try:
            data, rights, _, _ = self.socket.recvmsg(16384, 4096)
        except ConnectionResetError:
            return None
        fds = array.array("i")
        for level, kind, payload in rights:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                fds.frombytes(payload[: len(payload) - len(payload) % fds.itemsize])
        if not data:
            return None
        kind = struct.unpack_from("=I", data)[0] & 0xFFFF
        return Message(self.layout.names.get(kind, str(kind)), data, list(fds))


class Front(Place):
    """The front's place: everything that the supervisor would do for a front it does for us."""

    def __init__(self, layout, path):
        self.door = socket.socket(socket.AF_UNIX)
        self.door.settimeout(PATIENCE)
        self.door.connect(str(path))
        setup, rights, _, _ = self.door.recvmsg(16384, 4096)
        self.given = array.array("i")
        for _, _, payload in rights:
            self.given.frombytes(payload)
        super().__init__(layout, socket.socket(fileno=self.given[0]))
        offset, size = layout.messages["SETUP"]["limits"]
        self.limits = setup[offset : offset + size]
        self.started = {}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()
        self.door.close()
        for fd in self.given[1:]:
            os.close(fd)
        for fds in self.started.values():
            for fd in fds:
                os.close(fd)
        self.started, self.given = {}, self.given[:1]

    def limit(self, name, value):
        """The server's limits with one changed."""
        at = 8 * next(i for i, row in enumerate(self.layout.limits) if row["name"] == name)
        return self.limits[:at] + value.to_bytes(8, "little") + self.limits[at + 8 :]

    def limit_value(self, name):
        at = 8 * next(i for i, row in enumerate(self.layout.limits) if row["name"] == name)
        return int.from_bytes(self.limits[at : at + 8], "little")

    def ask(self, number, *fds, **fields):
        self.say("RUN", *fds, **{"id": number, "limits": self.limits, **fields})

    def hear_of(self, number, *names):
        """The next message of these kinds about one run; the ends of its pipes are kept in `started`."""
        while message := self.hear():
            about = self.layout.about(message)
            if message.name == "STARTED":
                self.started[about] = message.fds
            if about == number and message.name in names:
                return message
        return None

    def report(self, number):
        """All of a run's report pipe, which ends."""
        with open(self.started[number].pop(0), "rb") as pipe:
            return pipe.read()

    def run(self, number, script, *fds, **fields):
        """Asks for a run, waits for its end and gives (result, facts); the result None where it has none."""
        with_job = memory_file(job(script))
        self.ask(number, with_job, *fds, **fields)
        os.close(with_job)
        outcome = self.hear_of(number, "OUTCOME", "REFUSED")
        assert outcome and outcome.name == "OUTCOME", outcome
        found = frames(self.report(number))
        return found.get(RESULT), outcome

    def is_ended(self):
        """True when the supervisor ends the process whose place this is; what it still says before is dropped."""
        self.door.settimeout(PATIENCE)
        try:
            return self.door.recv(1) == b""
        except ConnectionResetError:
            return True


def build_with(part, replacement):
    """A copy of the build in which another executable, or another text, has a part's place. The caller removes it."""
    directory = harness.copy_build()
    if isinstance(replacement, str):
        (directory / part).write_text(replacement)
    else:
        shutil.copy(replacement, directory / part)
    return directory
