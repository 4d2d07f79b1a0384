"""Faults that are made without harm to the machine."""
import contextlib
import mmap
import os
import pathlib
import shutil
import struct
import subprocess
import tempfile

from harness import BUILD, IS_ROOT, NOBODY

FAULTY = BUILD / "tests" / "fault" / "faulty.so"


class Switches:
    """faulty.c in a server that is started with `environment`; nothing is wrong until it is said."""

    FIELDS = {"clock_s": 0, "cgroups": 8, "refusals": 16}

    def __init__(self):
        self.directory = tempfile.TemporaryDirectory(prefix="api-tests-")
        top = pathlib.Path(self.directory.name)
        top.chmod(0o755)
        library, page = shutil.copy(FAULTY, top / "faulty.so"), top / "faults"
        page.write_bytes(bytes(24))
        page.chmod(0o666)
        with open(page, "r+b") as file:
            self.page = mmap.mmap(file.fileno(), 24)
        self.environment = {"LD_PRELOAD": str(library), "TEST_FAULTS": str(page)}

    def __getitem__(self, name):
        return struct.unpack_from("=q", self.page, self.FIELDS[name])[0]

    def __setitem__(self, name, value):
        struct.pack_into("=q", self.page, self.FIELDS[name], value)


def limits_of(pid):
    """(soft, hard) limit of descriptors."""
    (line,) = [line for line in pathlib.Path(f"/proc/{pid}/limits").read_text().splitlines() if line.startswith("Max open files")]
    return line.split()[3:5]


def limit_descriptors(pid, soft, hard):
    """As the process's own user: nobody else may without CAP_SYS_RESOURCE."""
    status = dict(line.split(":\t", 1) for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line)
    user, group = status["Uid"].split()[0], status["Gid"].split()[0]
    become = ["setpriv", "--reuid", user, "--regid", group, "--clear-groups"] if int(user) != os.geteuid() else []
    subprocess.run([*become, "prlimit", "--pid", str(pid), f"--nofile={soft}:{hard}"], check=True)


@contextlib.contextmanager
def few_descriptors(pid, more):
    """A process may have this many more than it has now."""
    soft, hard = limits_of(pid)
    most = max(int(name) for name in os.listdir(f"/proc/{pid}/fd")) + 1
    limit_descriptors(pid, most + more, hard)
    try:
        yield
    finally:
        if os.path.exists(f"/proc/{pid}"):
            limit_descriptors(pid, soft, hard)


class SmallDisk:
    """Where runs have no file system each, the one of fixed size that they share: a server's begun by `wrap`, an ordinary user's who may make no
    namespaces, so that nothing can be mounted for a run. What fills it is a file of ours."""

    def __init__(self, place, options):
        become = ("setpriv", "--reuid", NOBODY, "--regid", NOBODY, "--clear-groups") if IS_ROOT else ()
        steps = (
            f"mount -t tmpfs -o {options} none '{place}' && touch '{place}/rest' && chmod 666 '{place}/rest' && "
            "echo 0 >/proc/sys/user/max_user_namespaces && exec setpriv --bounding-set=-all --inh-caps=-all -- \"$@\""
        )
        self.wrap = (*become, "unshare", "--user", "--map-root-user", "--mount", "sh", "-c", steps, "sh")
        self.place = place

    def path(self, server):
        return f"/proc/{server.pid}/root{self.place}/rest"

    def fill(self, server):
        rest = os.open(self.path(server), os.O_WRONLY)
        with contextlib.suppress(OSError):
            while True:
                os.write(rest, bytes(4096))
        os.close(rest)

    def clear(self, server):
        os.truncate(self.path(server), 0)


class MemoryRoom:
    """A v1 memory cgroup below ours: a server that is begun by `wrap` has no more than that."""

    def __init__(self, name):
        (own,) = [line.split(":", 2)[2] for line in pathlib.Path("/proc/self/cgroup").read_text().splitlines() if ":memory:" in line]
        self.path = pathlib.Path("/sys/fs/cgroup/memory" + own, f"api-tests-{name}-{os.getpid()}")
        self.path.mkdir()
        self.wrap = ("sh", "-c", f'echo $$ >"{self.path}/cgroup.procs" && exec "$@"', "sh")

    @staticmethod
    def there():
        return os.geteuid() == 0 and os.path.exists("/sys/fs/cgroup/memory/memory.limit_in_bytes")

    def limit(self, more):
        """What is used now, and so much more; None: all there is."""
        file = self.path / "memory.limit_in_bytes"
        if more is None:
            file.write_text("-1")
            return
        used = int((self.path / "memory.usage_in_bytes").read_text())
        file.write_text(str(used + more))

    def close(self):
        self.path.rmdir()
