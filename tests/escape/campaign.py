"""Which servers meet which attacks, and what became of them. A configuration is one server; its battery (battery.py) runs once, when
the tests that were selected first ask for it, a few batteries at a time."""
import concurrent.futures
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
from typing import NamedTuple

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "api")]

import container  # noqa: E402
import corpus  # noqa: E402
from harness import BUILD, MODES, PARTS, REPOSITORY  # noqa: E402

# The build with --without, for what runs in containers; the shipped one is attacked with all its layers.
ABLATION_BUILD = pathlib.Path(os.environ.get("SAFE_SCRIPT_ABLATION_BUILD", REPOSITORY / "build-ablation")).resolve()
ATTACKS = corpus.load()
LAYERED = [name for name, attack in ATTACKS.items() if attack.stops]
AT_ONCE = 3  # most of the time is waiting


class Configuration(NamedTuple):
    mode: str
    without: tuple = ()

    def __str__(self):
        return f"{self.mode}-without-{'-'.join(self.without)}" if self.without else f"{self.mode}-all"


# Walls that are part of a layer, and go with it.
PARTS_OF = {"uid": "identity", "forks": "seccomp"}


def configuration(walls):
    """A server without these, in the place that has the most of them."""
    walls = {PARTS_OF.get(wall, wall) for wall in walls}
    return Configuration(MODES[0], tuple(wall for wall in corpus.WALLS if wall in walls))


def whole():
    return [Configuration(mode) for mode in MODES]


def ablated():
    """An ordinary user has no cgroup that could be removed, unless one was delegated."""
    return [Configuration(mode, (layer,)) for mode in MODES for layer in corpus.LAYERS if (mode, layer) != ("user", "cgroup")]


def bare(name):
    """Without all that stop this attack."""
    return configuration(ATTACKS[name].stops)


# What a wall cannot be had without, and what it cannot be had with.
NEEDS = {"root": "namespaces", "uid": "identity", "forks": "seccomp"}
REPLACES = {"forks": {"cgroup"}}


def lone(name, wall):
    """With none of those that stop it but this one."""
    return configuration((set(ATTACKS[name].stops) | REPLACES.get(wall, set())) - {wall, NEEDS.get(wall)})


def lonely():
    return [(name, wall) for name in LAYERED for wall in ATTACKS[name].stops]


# ── fighting ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def fight(server, names):
    directory = pathlib.Path(tempfile.mkdtemp(prefix="escape-"))
    directory.chmod(0o755)
    build = ABLATION_BUILD if server.without else BUILD
    out, log = directory / "out.json", directory / "battery.log"
    spec = {"build": str(directory), "mode": server.mode, "without": server.without, "attacks": names, "out": str(out)}
    (directory / "spec.json").write_text(json.dumps(spec))
    command = ["/usr/bin/python3", str(directory / "tests/escape/battery.py"), str(directory / "spec.json")]
    environment = {**os.environ, "SAFE_SCRIPT_BUILD": str(directory)}
    try:
        for part in PARTS:
            shutil.copy(build / part, directory / part)
            (directory / part).chmod(0o755)
        shutil.copytree(HERE.parent, directory / "tests")
        if server.without:
            container.run(command, str(directory), log, environment)
        else:
            with open(log, "wb") as output:
                subprocess.run(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment, cwd="/", check=False)
        return json.loads(out.read_text()) if out.exists() else {"failed": log.read_text(errors="replace")}
    finally:
        shutil.rmtree(directory)


class Campaign:
    def __init__(self):
        self.pool = concurrent.futures.ThreadPoolExecutor(AT_ONCE)
        self.wanted, self.futures = {}, {}

    def want(self, server, name=None):
        """Before begin(): this attack is to meet this server (None: its server is only to be looked at)."""
        names = self.wanted.setdefault(server, {})
        if name:
            names[name] = True

    def begin(self):
        for server, names in self.wanted.items():
            self.futures[server] = self.pool.submit(fight, server, list(names))

    def battery(self, server):
        outcome = self.futures[server].result()
        assert "failed" not in outcome, f"{server}: {outcome['failed']}"
        return outcome


CAMPAIGN = Campaign()
battery = CAMPAIGN.battery


def walls(server):
    """Those that hold there, as the server itself says."""
    return set(battery(server)["walls"])


def outcome(server, name):
    return battery(server)["attacks"][name]
