"""A throw-away container for servers whose jail lacks layers: even a whole escape reaches nothing but what dies with it.

    run(command, share=DIRECTORY, log=FILE, environment={…}) -> exit status

As root: new user, mount, pid, net, ipc, uts and cgroup namespaces. Root inside is the host's uid 0 to the kernel (so that the files
of cgroup v1 are its own) but has capabilities over these namespaces only; 65,536 ids are mapped. Its tree is an overlay of / whose
changes go to a tmpfs; /proc is its own; /dev has five devices that hold no state; of the host's cgroups it sees one of its own,
limited. As an ordinary user: the same namespaces, /, read-only, with fresh tmpfs where files are made.

DIRECTORY, outside and inside at the same path, is the one thing that both sides see and write."""
import contextlib
import ctypes
import fcntl
import os
import pathlib
import signal
import socket
import struct
import subprocess
import sys
import tempfile

NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET = 0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000
MS_RDONLY, MS_NOSUID, MS_BIND, MS_REC, MS_PRIVATE, MNT_DETACH = 1, 2, 4096, 16384, 1 << 18, 2
PR_SET_PDEATHSIG, SYS_mount_setattr, AT_FDCWD, AT_RECURSIVE, MOUNT_ATTR_RDONLY = 1, 442, -100, 0x8000, 1
SIOCSIFFLAGS, IFF_UP = 0x8914, 1
DEVICES = ("null", "zero", "full", "random", "urandom")
FRESH = ("tmp", "var/tmp", "run", "dev/shm")
CONTROLLERS = ("memory", "pids", "cpuacct", "cpu")
MEMORY_MOST, PIDS_MOST = 3 << 30, 2000  # of a container: the machine's own protection

libc = ctypes.CDLL(None, use_errno=True)


def check(result, what):
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def unshare(flags):
    check(libc.unshare(flags), f"unshare 0x{flags:x}")


def mount(source, target, kind=None, flags=0, data=None):
    encoded = (str(each).encode() if each is not None else None for each in (source, target, kind))
    check(libc.mount(*encoded, ctypes.c_ulong(flags), data.encode() if data else None), f"mount {source} on {target}, {data}")


# ── the host's side ─────────────────────────────────────────────────────────────────────────────────────────────────────


def own_cgroup(controller):
    for line in pathlib.Path("/proc/self/cgroup").read_text().splitlines():
        _, names, path = line.split(":", 2)
        if controller in names.split(","):
            return path.lstrip("/")
    return ""


@contextlib.contextmanager
def cgroups(name):
    """Fresh cgroups of the v1 hierarchies that are there: [(controller, directory)]. On v2: one, as ("", directory)."""
    made = []
    for controller in CONTROLLERS:
        base = pathlib.Path("/sys/fs/cgroup", controller, own_cgroup(controller))
        if (base / "cgroup.procs").exists() and os.access(base, os.W_OK):
            made.append((controller, base / name))
    if not made and os.access("/sys/fs/cgroup/cgroup.subtree_control", os.W_OK):
        with contextlib.suppress(OSError):
            pathlib.Path("/sys/fs/cgroup/cgroup.subtree_control").write_text("+memory +pids +cpu")
        made.append(("", pathlib.Path("/sys/fs/cgroup", name)))
    for _, directory in made:
        directory.mkdir()
        for file, most in (("memory.limit_in_bytes", MEMORY_MOST), ("memory.max", MEMORY_MOST), ("pids.max", PIDS_MOST)):
            if (directory / file).exists():
                (directory / file).write_text(str(most))
    try:
        yield made
    finally:
        for _, directory in made:
            for below in sorted(directory.rglob("*/"), reverse=True):
                with contextlib.suppress(OSError):
                    below.rmdir()
            directory.rmdir()


def run(command, share, log, environment):
    """Runs the command in a container of its own, its output in the file `log`; returns its exit status."""
    name = f"{os.path.basename(share)}-{os.getpid()}"  # not "safe-script-…": servers remove those of dead ones
    with contextlib.ExitStack() as stack:
        groups = stack.enter_context(cgroups(name)) if os.geteuid() == 0 else []
        scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="escape-scratch-"))
        output = stack.enter_context(open(log, "ab"))
        spec = [f"{controller}={directory}" for controller, directory in groups]
        process = subprocess.Popen(
            ["/usr/bin/python3", __file__, str(share), scratch, ",".join(spec), *map(str, command)],
            stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment, start_new_session=True, cwd="/")
        try:
            return process.wait()
        finally:
            process.kill()
            process.wait()


# ── from the host to the inside ─────────────────────────────────────────────────────────────────────────────────────────


def map_ids(pid):
    """By the parent of the new user namespace, as root; an ordinary user's maps are their own ids."""
    root = os.geteuid() == 0
    if not root:
        pathlib.Path(f"/proc/{pid}/setgroups").write_text("deny")
    for file, own in (("uid_map", os.getuid()), ("gid_map", os.getgid())):
        pathlib.Path(f"/proc/{pid}/{file}").write_text("0 0 65536" if root else f"{own} {own} 1")


def die_with_parent():
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def exit_with(status):
    os._exit(os.waitstatus_to_exitcode(status) & 0xFF)


def overlay(scratch):
    for name in ("lower", "upper", "work", "root"):
        os.mkdir(f"{scratch}/top/{name}")
    mount(f"{scratch}/lower", f"{scratch}/top/lower", None, MS_BIND)
    options = ",".join(f"{name}dir={scratch}/top/{name}" for name in ("lower", "upper", "work"))
    mount("overlay", f"{scratch}/top/root", "overlay", 0, options + ",userxattr")
    return f"{scratch}/top/root"


def read_only_bind(scratch):
    root = f"{scratch}/top/root"
    os.mkdir(root)
    mount("/", root, None, MS_BIND | MS_REC)
    attributes = struct.pack("QQQQ", MOUNT_ATTR_RDONLY, 0, 0, 0)
    check(libc.syscall(SYS_mount_setattr, AT_FDCWD, root.encode(), AT_RECURSIVE, attributes, len(attributes)), "read-only")
    return root


def fill(root, share, groups):
    mount("proc", f"{root}/proc", "proc")
    if os.geteuid() == 0:
        mount("tmpfs", f"{root}/dev", "tmpfs")
        for name in DEVICES:
            os.close(os.open(f"{root}/dev/{name}", os.O_CREAT))
            mount(f"/dev/{name}", f"{root}/dev/{name}", None, MS_BIND)
        os.mkdir(f"{root}/dev/shm")
        mount("tmpfs", f"{root}/sys", "tmpfs")
        os.makedirs(f"{root}/sys/fs/cgroup")
    for path in FRESH:
        mount("tmpfs", f"{root}/{path}", "tmpfs", 0, "mode=1777")
    for controller, directory in groups:
        os.makedirs(f"{root}/sys/fs/cgroup/{controller}", exist_ok=True)
        mount(directory, f"{root}/sys/fs/cgroup/{controller}", None, MS_BIND)
    os.makedirs(root + share, exist_ok=True)
    mount(share, root + share, None, MS_BIND)


def enter(root):
    os.chdir(root)
    check(libc.pivot_root(b".", b"."), "pivot_root")
    check(libc.umount2(b".", MNT_DETACH), "umount")
    os.chdir("/")
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", IFF_UP))


def inside(share, scratch, groups, command):
    """PID 1 of the container."""
    die_with_parent()
    mount(None, "/", None, MS_REC | MS_PRIVATE)
    mount("tmpfs", f"{scratch}/top", "tmpfs")
    tree = overlay(scratch) if os.geteuid() == 0 else read_only_bind(scratch)
    fill(tree, share, groups)
    enter(tree)
    child = os.fork()
    if child == 0:
        os.execv(command[0], command)
    while True:
        pid, status = os.wait()
        if pid == child:
            exit_with(status)


def main(share, scratch, groups, *command):
    root = os.geteuid() == 0
    groups = [entry.split("=", 1) for entry in groups.split(",") if entry]
    os.makedirs(f"{scratch}/lower")
    os.makedirs(f"{scratch}/top")
    unshared, mapped = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        die_with_parent()
        for _, directory in groups:
            pathlib.Path(directory, "cgroup.procs").write_text("0")
        if root:  # / alone, without the mounts on it: an overlay in a user namespace takes no lower tree with mounts that are locked
            unshare(NEWNS)
            mount(None, "/", None, MS_REC | MS_PRIVATE)
            mount("/", f"{scratch}/lower", None, MS_BIND)
        unshare(NEWUSER | NEWNS | NEWNET | NEWIPC | NEWUTS | NEWPID | NEWCGROUP)
        os.write(unshared[1], b"x")
        os.read(mapped[0], 1)
        if root:
            os.setgroups([])
            os.setresgid(0, 0, 0)
            os.setresuid(0, 0, 0)
        first = os.fork()
        if first == 0:
            inside(share, scratch, groups, command)
        exit_with(os.waitpid(first, 0)[1])
    die_with_parent()
    os.read(unshared[0], 1)
    map_ids(child)
    os.write(mapped[1], b"x")
    exit_with(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    main(*sys.argv[1:])
