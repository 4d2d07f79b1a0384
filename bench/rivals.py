"""What safe-script is measured beside: the interpreter alone, jails that start one, and a small HTTP service around such a jail."""
import contextlib
import shutil
import subprocess

import scripts
import tools
from tools import PYTHON

# The site's .pth files are the host's, not Python's: they go from sight, and with them what else is there.
PACKAGES = ["/usr/lib/python3/dist-packages"]


def clean(with_packages):
    """A command that execs what follows it in a mount namespace where no .pth file is, and no package or all of them."""
    link = 'for each in "$real"/*; do case $each in *.pth) ;; *) ln -s "$each" "$1/" ;; esac; done'
    text = f"""
        shown=$1; shift
        mount -t tmpfs none /mnt && mkdir /mnt/real && mount --bind "$shown" /mnt/real && mount -t tmpfs none "$shown" || exit 2
        real=/mnt/real
        {f'(set -- "$shown"; {link})' if with_packages else ':'}
        exec "$@"
    """
    return ["unshare", "--mount", *([] if tools.os.getuid() == 0 else ["--map-root-user"]), "sh", "-c", text, "-", *PACKAGES]


# name → the command in front of the interpreter; {file}: the script's, at the same path inside
JAILS = {
    "nsjail": [
        "nsjail", "-Mo", "--really_quiet", "--user", "65534", "--group", "65534", "--time_limit", "60", "--rlimit_as", "4096",
        "-R", "/usr", "-R", "/lib", "-R", "/lib64", "-R", "/bin", "-T", PACKAGES[0], "-T", "/tmp", "-R", "{directory}", "--cwd", "/tmp",
        "--",
    ],
    "bubblewrap": [
        "bwrap", "--unshare-all", "--die-with-parent", "--new-session", "--clearenv", "--ro-bind", "/usr", "/usr",
        "--symlink", "usr/lib", "/lib", "--symlink", "usr/lib64", "/lib64", "--symlink", "usr/bin", "/bin",
        "--tmpfs", PACKAGES[0], "--tmpfs", "/tmp", "--ro-bind", "{directory}", "{directory}", "--chdir", "/tmp", "--",
    ],
}  # fmt: skip


def jail_names():
    return [name for name, command in JAILS.items() if shutil.which(command[0])]


def engines():
    """The jails that can take the place of ours around each run: (engine, program)."""
    return [(name, shutil.which(JAILS[name][0])) for name in jail_names()]


def jail_command(bench, name):
    return [shutil.which(JAILS[name][0]), *(part.format(directory=bench.directory) for part in JAILS[name][1:])]


class Start:
    """A rival that is a process to be started for each script."""

    def __init__(self, bench, name, before=()):
        self.bench, self.name, self.over_http = bench, name, False
        script = bench.file("hello.py", scripts.HELLO + scripts.BARE_TAIL)
        self.expect = bench.file("hello.out", scripts.HELLO_BARE_ANSWER)
        self.command = [*before, PYTHON, "-I", script]

    def measure(self, clients, seconds, warm_up):
        return self.bench.start(
            self.command, prefix=clean(False), at_once=clients, seconds=seconds, warm_up=warm_up, expect=self.expect
        )


class Service:
    """One that is a server on a port: POST /execute."""

    def __init__(self, bench, name, port, script=scripts.HELLO, answer=scripts.HELLO_ANSWER, **load):
        self.bench, self.name, self.port, self.over_http, self.load = bench, name, port, True, load
        label = name.replace(" ", "-")
        self.body = bench.file(f"{label}.json", tools.json.dumps({"script": script}))
        self.expect = bench.file(f"{label}.answer", answer)

    def measure(self, clients, seconds, warm_up):
        return self.bench.load(
            f"127.0.0.1:{self.port}", connections=clients, path="/execute", body=self.body, expect=self.expect,
            seconds=seconds, warm_up=warm_up, **self.load,
        )  # fmt: skip

    def once(self):
        tools.post(self.port, "/execute", self.body.read_bytes())


@contextlib.contextmanager
def flask(bench, jail):
    """Flask under gunicorn, threads that keep connections alive; each request starts the jail."""
    port = tools.free_port()
    command = [
        PYTHON, "-m", "gunicorn", "--chdir", str(tools.TOP / "bench"), "--bind", f"127.0.0.1:{port}", "--log-level", "warning",
        "--worker-class", "gthread", "--workers", str(tools.CORES), "--threads", "8",
        f"flask_app:service({tools.json.dumps(jail_command(bench, jail))!r})",
    ]  # fmt: skip
    with tools.running(command, "gunicorn", lambda: tools.get(port, "/")[0] == 404, bench.directory / "gunicorn.log"):
        yield Service(bench, f"Flask + gunicorn + {jail}", port)


def docker_works():
    return shutil.which("docker") and subprocess.run(["docker", "info"], capture_output=True, check=False).returncode == 0


@contextlib.contextmanager
def docker(bench):
    """docker run, with an image of the interpreter alone: what it links and its library."""
    image = "safe-script-bench:python"
    text = f"""
        set -e
        tree=$(mktemp -d); trap 'rm -rf "$tree"' EXIT
        real=$(readlink -f {PYTHON})
        {{ echo "$real"; ldd "$real" | grep -o '/[^ ]*'; }} | xargs -I F cp --parents -L F "$tree"
        [ -e /lib64 ] && mkdir -p "$tree/lib64" && cp -L /lib64/ld-linux* "$tree/lib64/"
        mkdir -p "$tree/usr/lib" "$tree/usr/bin" "$tree/tmp"
        cp -r "/usr/lib/${{real##*/}}" "$tree/usr/lib/"; ln -s "${{real##*/}}" "$tree{PYTHON}" 
        cp {bench.directory}/hello.py "$tree/"
        tar -C "$tree" -c . | docker import - {image}
    """
    done = subprocess.run(["bash", "-c", text], capture_output=True, check=False)
    if done.returncode:
        raise tools.Failed(f"docker: {done.stderr.decode()[-300:]}")
    rival = Start(bench, "docker run")
    rival.command = ["docker", "run", "--rm", "--network", "none", image, PYTHON, "-I", "/hello.py"]
    try:
        yield rival
    finally:
        subprocess.run(["docker", "rmi", "-f", image], capture_output=True, check=False)
