"""The image that `docker build` has made, in the ways that people run it. Started by image.sh, in the network of a daemon of its own."""
import http.client
import json
import os
import pathlib
import shutil
import socket
import subprocess
import time

import pytest

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
DOCKER = "/usr/bin/docker"
PATIENCE = 120
LARGEST = {"safe-script": 450 << 20, "safe-script:slim": 130 << 20}  # bytes

HELLO = 'def main():\n    print("hello world")\n    return {"message": "done"}'
CONTRACT = [
    (HELLO, 200, b'{"result":{"message":"done"},"stdout":"hello world"}'),
    ('def main():\n    return {"message": "hello"}', 200, b'{"result":{"message":"hello"},"stdout":""}'),
    ("def main():\n    pass", 400, b'{"error":"main() did not return a value"}'),
    ("x = 1", 400, b'{"error":"Script must define a function named main()"}'),
    ("x = (", 400, b'{"error":"Script must define a function named main()"}'),
    ('def main():\n    return "text"', 400, b'{"error":"main() must return a JSON object (e.g., a Python dict)"}'),
]
FRAME = """
import pandas
def main():
    frame = pandas.DataFrame({"k": ["a", "b", "a"], "v": [1, 2, 3]})
    return {"sums": frame.groupby("k")["v"].sum().to_dict()}
"""
PLOT = """
import matplotlib.pyplot as plot
def main():
    plot.plot([1, 2, 3])
    plot.title("plot")
    plot.savefig("plot.png")
    return {"start": list(open("plot.png", "rb").read(4))}
"""
RESTRICTED = "--user 1000 --cap-drop ALL --read-only --security-opt no-new-privileges"

# Flags → layers that hold with them, besides those that hold everywhere.
WAYS = {
    "": {"own uid"},
    "--read-only": {"own uid"},
    RESTRICTED: set(),
    "--security-opt seccomp=unconfined": {"own uid", "namespaces", "root"},
    "--cap-add SYS_ADMIN --security-opt seccomp=unconfined": {"own uid", "namespaces", "root"},
    f"--security-opt seccomp={os.environ.get('SAFE_SCRIPT_SECCOMP', 'dist/docker-seccomp.json')}": {"own uid", "namespaces", "root"},
    f"{RESTRICTED} --security-opt seccomp={os.environ.get('SAFE_SCRIPT_SECCOMP', 'dist/docker-seccomp.json')}": {"namespaces", "root"},
    "--user 0": {"own uid"},
    "-e PORT=9000": {"own uid"},
}
EVERYWHERE = {"identity", "rlimits", "landlock", "seccomp", "supervisor"}


def docker(*args, check=True):
    done = subprocess.run([DOCKER, *args], capture_output=True, text=True, check=False)
    assert not check or done.returncode == 0, done.stderr
    return done.stdout.strip()


def until(condition, what):
    end = time.monotonic() + PATIENCE
    while not (value := condition()):
        assert time.monotonic() < end, f"waited in vain for: {what}"
        time.sleep(0.2)
    return value


class Container:
    def __init__(self, flags, image="safe-script", port=8080):
        """One that `docker run` starts with these flags."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.id = docker("run", "-d", "-p", f"127.0.0.1:{self.port}:{port}", *flags.split(), image)

    @classmethod
    def of(cls, name, port):
        """One that is there."""
        container = cls.__new__(cls)
        container.id, container.port = name, port
        return container

    def get(self, method, path, body=None):
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        client.request(method, path, body, {"Content-Type": "application/json"} if body else {})
        answer = client.getresponse()
        return answer.status, answer.read()

    def execute(self, script):
        return self.get("POST", "/execute", json.dumps({"script": script}))

    def ready(self):
        assert docker("inspect", "-f", "{{.State.Running}}", self.id) == "true", docker("logs", self.id)
        try:
            return self.get("GET", "/readyz")[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def wait_ready(self):
        until(self.ready, "a ready server")
        return self


@pytest.fixture
def run():
    started = []

    def start(*args, **options):
        started.append(Container(*args, **options))
        return started[-1].wait_ready()

    yield start
    for each in started:
        docker("rm", "-f", each.id, check=False)


@pytest.mark.parametrize("flags", WAYS)
def test_ways_to_run_it(run, flags):
    container = run(flags, port=9000 if "PORT" in flags else 8080)
    for script, status, body in CONTRACT:
        assert container.execute(script) == (status, body), script
    assert container.execute(FRAME) == (200, b'{"result":{"sums":{"a":4,"b":2}},"stdout":""}')
    assert container.execute(PLOT) == (200, b'{"result":{"start":[137,80,78,71]},"stdout":""}')
    jail = json.loads(container.get("GET", "/v1/jail")[1])
    layers = {each["name"]: each for each in jail["layers"]}
    holds = {name for name, each in layers.items() if each["holds"]} | ({"own uid"} if "uids from" in layers["identity"]["how"] else set())
    assert holds == EVERYWHERE | WAYS[flags]
    log = subprocess.run([DOCKER, "logs", container.id], capture_output=True, text=True, check=True).stdout
    for name, each in layers.items():
        assert f"  {name:11} {'yes' if each['holds'] else 'NO'}" in log
    if "namespaces" not in holds:
        assert "--security-opt seccomp=unconfined" in log  # what one more flag would bring
    docker("stop", container.id)
    assert docker("inspect", "-f", "{{.State.ExitCode}}", container.id) == "0"


def test_the_slim_image_has_the_standard_library_alone(run):
    container = run("", image="safe-script:slim")
    assert container.execute(HELLO) == CONTRACT[0][1:]
    assert b"No module named 'numpy'" in container.execute(FRAME.replace("pandas", "numpy"))[1]


def test_compose():
    compose = [shutil.which("docker-compose"), "--project-name", "safe-script", "--file", REPOSITORY / "docker-compose.yml"]
    subprocess.run([*compose, "up", "--detach", "--no-build"], check=True, capture_output=True)
    try:
        name = subprocess.run([*compose, "ps", "--quiet"], check=True, capture_output=True, text=True).stdout.strip()
        container = Container.of(name, 8080).wait_ready()
        assert container.execute(HELLO) == CONTRACT[0][1:]
        layers = {each["name"] for each in json.loads(container.get("GET", "/v1/jail")[1])["layers"] if each["holds"]}
        assert layers == EVERYWHERE | {"namespaces", "root"}
    finally:
        subprocess.run([*compose, "down"], check=True, capture_output=True)


def test_docker_finds_it_healthy(run):
    container = run("")
    until(lambda: docker("inspect", "-f", "{{.State.Health.Status}}", container.id) == "healthy", "a healthy container")


@pytest.mark.parametrize("image", LARGEST)
def test_what_is_in_it(image, capsys):
    about = json.loads(docker("inspect", image))[0]
    with capsys.disabled():
        print(f"\n{image}: {about['Size'] / 1e6:.0f} MB")
    assert about["Size"] < LARGEST[image]
    assert about["Config"]["User"] == "65532:65532" and about["Config"]["StopSignal"] == "SIGTERM"
    labels = about["Config"]["Labels"]
    assert labels["org.opencontainers.image.title"] == "safe-script"
    assert f"version: '{labels['org.opencontainers.image.version']}'" in (REPOSITORY / "meson.build").read_text()
    made = docker("create", image)
    try:
        archive = subprocess.run([DOCKER, "export", made], capture_output=True, check=True).stdout
        names = subprocess.run(["tar", "-t"], input=archive, capture_output=True, check=True).stdout.decode().split("\n")
    finally:
        docker("rm", made)
    programs = {os.path.basename(name) for name in names if "/bin/" in f"/{name}" or "/sbin/" in f"/{name}"}
    assert {"safe-script", "python3"} <= programs
    assert not programs & {"sh", "bash", "dash", "busybox", "gcc", "cc", "ld", "as", "apt-get", "perl", "mount", "su"}
    assert programs <= {"", "safe-script", "python3", "python3.13"}
