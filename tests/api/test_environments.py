"""Environments: CONTRACT.md section 2, GET /v1/environments, and the field of requests; sections [environment NAME]."""
import json
import os
import re
import signal
import subprocess
import textwrap

import pytest

from harness import FLAGS, HELLO, LONG, MIB, PATIENCE, PYTHON, background, wait_until

FIND = "import sys; from importlib.util import find_spec; sys.exit(not all(map(find_spec, ('numpy', 'pandas', 'matplotlib'))))"
data = pytest.mark.skipif(subprocess.run([PYTHON or "/usr/bin/python3", "-I", "-c", FIND]).returncode != 0, reason="needs numpy, pandas, matplotlib")

MODULE = '''
import sys
WARM = "script" not in sys.modules and "__main__" in sys.modules and not hasattr(sys.modules["__main__"], "main")
VALUE = 41
def add():
    return VALUE + 1
'''
USE = "import tiny_warm\ndef main():\n    return {'value': tiny_warm.add()}\n"
LOADED = "import sys\nloaded = 'tiny_warm' in sys.modules\nimport tiny_warm\ndef main():\n    return {'loaded': loaded, 'value': tiny_warm.add()}\n"


def environments(server):
    return {each["name"]: each for each in server.request("GET", "/v1/environments").json["environments"]}


def zygote(server, name):
    return environments(server)[name]["zygote"]


def until(server, name, state):
    wait_until(lambda: zygote(server, name) == state, f"the zygote of {name} to be {state}")


def events(server, *names):
    return [each for each in map(json.loads, filter(None, server.log_lines())) if each["event"].startswith(names)]


@pytest.fixture
def packages(public_dir):
    """A directory as pip install --target makes one, with one small module in it."""
    top = public_dir / "packages"
    (top / "tiny_warm-1.5.dist-info").mkdir(parents=True)
    (top / "tiny_warm-1.5.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: tiny_warm\nVersion: 1.5\n")
    (top / "tiny_warm.py").write_text(MODULE)
    for path in (top, *top.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return top


@pytest.fixture
def configured(start_server, public_dir, mode):
    """configured(text, *flags) → (server, reload), as in test_reload.py."""

    def start(text, *flags):
        path = public_dir / "config.ini"
        path.write_text(textwrap.dedent(text))
        server = start_server("--config", path, *flags, user=mode == "user")

        def reload(text):
            words = "the configuration was read again", "the configuration is broken"
            before = len(events(server, *words))
            path.write_text(textwrap.dedent(text))
            os.kill(server.pid, signal.SIGHUP)
            wait_until(lambda: len(events(server, *words)) > before, "a word about the new configuration")

        return server, reload

    return start


def test_what_is_listed_is_what_scripts_find(server):
    answer = server.request("GET", "/v1/environments")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
    assert list(answer.json) == ["environments"]
    for environment in answer.json["environments"]:
        assert list(environment) == ["name", "interpreter", "packages", "warm", "limits", "reason", "zygote"]
    environment = answer.json["environments"][0]
    assert environment["name"] == server.run("def main():\n    return {}\n", environment=environment["name"])["environment"] == "default"
    assert (environment["zygote"], environment["reason"]) == ("up", None)
    packages = {each["name"]: each["version"] for each in environment["packages"]}
    assert list(packages) == sorted(packages, key=str.lower)
    seen = server.result(
        """
        import platform, re
        from importlib.metadata import distributions
        def main():
            packages = {re.sub("[-_.]+", "-", each.metadata["Name"]).lower(): each.version for each in distributions()}
            return {"interpreter": f"{platform.python_implementation()} {platform.python_version()}", "packages": packages}
        """
    )
    assert environment["interpreter"] == seen["interpreter"]
    normal = {re.sub("[-_.]+", "-", name).lower(): version for name, version in packages.items()}
    assert normal.keys() == seen["packages"].keys()
    assert normal == seen["packages"]


def test_a_path_names_all_its_methods(server):
    for method, path, allow in (("DELETE", "/v1/environments", "GET, HEAD"), ("GET", "/v1/runs", "POST"), ("PUT", "/execute", "POST")):
        answer = server.request(method, path)
        assert (answer.status, answer.headers["Allow"]) == (405, allow), path
        assert path.encode() in answer.body


@pytest.mark.parametrize("name", ("", "no such", "Default", "default ", "../default", "default\u0000", "défaut", "x" * 5000, "%s%n"))
def test_an_unknown_environment_is_refused_with_those_that_there_are(server, name):
    answer = server.execute(HELLO, environment=name)
    assert answer.status == 400
    assert "environment" in answer.error and '"default"' in answer.error
    server.assert_serves()


@pytest.mark.parametrize("value", (1, None, True, ["default"], {"name": "default"}))
def test_an_environment_is_a_string(server, value):
    answer = server.execute(HELLO, environment=value)
    assert (answer.status, answer.error) == (400, 'field "environment" must be a string')


@data
def test_a_plot_and_a_frame_in_the_environment_for_data(server):
    script = """
        import numpy as np, pandas as pd, os
        import matplotlib.pyplot as plt
        def main():
            frame = pd.DataFrame({"k": list("abab"), "v": np.arange(4)})
            frame.groupby("k")["v"].sum().plot(kind="bar")
            plt.savefig("plot.png")
            return {"sums": frame.groupby("k")["v"].sum().to_dict(), "figure": plt.gcf().number, "threads": os.environ["OPENBLAS_NUM_THREADS"]}
        """
    record = server.run(script, environment="data", return_files=["*.png"])
    assert (record["status"], record["environment"]) == ("ok", "data"), record
    assert record["result"] == {"sums": {"a": 2, "b": 4}, "figure": 1, "threads": "1"}
    (plot,) = record["files"]
    assert plot["path"] == "plot.png" and plot["content"].startswith("iVBORw0KGgo")
    assert (record["stderr"], record["stdout"]) == ("", "")
    numbers = "import numpy.random as r\ndef main():\n    return {'n': [r.rand(), r.randn(), r.permutation(10**6)[:4].tolist(), r.default_rng().random()]}\n"
    runs = [server.result(numbers)["n"] for _ in range(2)]
    assert all(one != other for one, other in zip(*runs)), runs


@data
def test_a_script_that_imports_pandas_gets_the_zygote_that_has_it_once_that_is_there(start_server):
    server = start_server()
    script = "import pandas\ndef main():\n    return {'sum': int(pandas.Series([1, 2]).sum())}\n"
    first = server.run(script)
    assert (first["status"], first["environment"], first["result"]) == ("ok", "default", {"sum": 3})
    until(server, "data", "up")
    record = server.run(script)
    assert (record["status"], record["environment"], record["result"]) == ("ok", "data", {"sum": 3})
    assert server.run(HELLO)["environment"] == "default"
    assert server.run(script, environment="default")["environment"] == "default"


# ---- tiers: zygotes of `data` with the beginnings of its list ----

ALL = ["numpy", "pandas", "matplotlib"]
FULL = "numpy pandas matplotlib.pyplot"
PEEK = f"import sys\nbefore = [each for each in {ALL} if each in sys.modules]\n"
REST = f"\ndef main():\n    return {{'before': before, 'rest': [__import__(each).__name__ for each in {ALL}]}}\n"


def run_with(server, imports, **options):
    """A run that shows what was there before its imports, and that the rest can be had: (environment, what was there)."""
    record = server.run(PEEK + imports + REST, **options)
    assert record["status"] == "ok" and record["result"]["rest"] == ALL, record
    return record["environment"], record["result"]["before"]


def ready(server, warm, since=0):
    """The pids of the zygotes of data that have become ready with these modules."""
    return [each["pid"] for each in events(server, "zygote ready")[since:] if (each["environment"], each["warm"]) == ("data", warm)]


def wait_ready(server, warm, since=0):
    return wait_until(lambda: ready(server, warm, since), f"a zygote with {warm}")[-1]


@pytest.fixture
def stand_ins(packages):
    """numpy, pandas and matplotlib of a few lines, which import at once, but for as long as there is a file "stuck": then a
    zygote with numpy never gets ready. One that has a file "broken" fails."""
    text = """
        import os, time
        here = os.path.dirname(__file__)
        if os.path.exists(here + "/broken"):
            raise RuntimeError("broken")
        while os.path.exists(here + "/stuck"):
            time.sleep(0.05)
        class Anything(str):
            def itself(self, *_, **__):
                return self
            __call__ = __getattr__ = __getitem__ = __matmul__ = __gt__ = itself
        def __getattr__(name):
            if name.startswith("__"):
                raise AttributeError(name)
            return Anything("anything")
        """
    for name in ALL:
        (packages / name).mkdir()
        (packages / f"{name}-1.0.dist-info").mkdir()
        (packages / f"{name}-1.0.dist-info" / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (packages / name / "__init__.py").write_text(textwrap.dedent(text))
    for name in ("pyplot", "font_manager"):
        (packages / "matplotlib" / f"{name}.py").write_text(textwrap.dedent(text))
    for path in packages.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return packages


def with_stand_ins(packages, data="", more=""):
    return f"{more}\n[environment default]\npath = {packages}\n[environment data]\npath = {packages}\n{data}\n"


@data
def test_a_script_pays_for_no_more_of_data_than_it_imports(start_server):
    server = start_server()
    for imports, warm in (
        ("import numpy", "numpy"),
        ("import numpy\nimport pandas as pd", "numpy pandas"),
        ("from pandas import DataFrame", "numpy pandas"),
        ("import numpy, matplotlib", FULL),
    ):
        assert server.run(imports + "\ndef main():\n    return {}\n")["status"] == "ok"
        wait_ready(server, warm)
        assert run_with(server, imports) == ("data", [each for each in ALL if each in warm])
        assert zygote(server, "data") == "up"
    assert run_with(server, "", environment="data") == ("data", ALL)
    assert server.run(HELLO)["environment"] == "default"
    assert [len(ready(server, warm)) for warm in ("numpy", "numpy pandas", FULL)] == [1, 1, 1]


def test_whoever_looks_sees_one_environment_with_all_its_modules(configured, cli, mode, stand_ins):
    text = with_stand_ins(stand_ins, "pool = 2\n")
    server, _ = configured(text)
    for imports, warm in (("import numpy", "numpy"), ("import pandas", "numpy pandas")):
        run_with(server, imports)
        wait_ready(server, warm)
        assert run_with(server, imports) == ("data", warm.split())
    listed = server.request("GET", "/v1/environments").json["environments"]
    assert [(each["name"], each["warm"], each["zygote"]) for each in listed] == [("default", [], "up"), ("data", FULL.split(), "up")]
    assert server.request("GET", "/openapi.json").json["components"]["schemas"]["Environment"]["enum"] == ["default", "data"]
    for name in ("", "numpy", "numpy pandas", "data-numpy"):
        answer = server.execute(HELLO, environment=name)
        assert (answer.status, answer.error) == (400, f'unknown environment "{name}" (known: "default", "data")')

    def samples():
        lines = [line.rsplit(" ", 1) for line in server.request("GET", "/metrics").body.decode().splitlines() if line[0] != "#"]
        assert len(dict(lines)) == len(lines)
        assert {found for name, _ in lines for found in re.findall('environment="([^"]*)"', name)} == {"default", "data"}
        return dict(lines)

    wait_until(lambda: samples()['safe_script_environment_pool{environment="data"}'] == "4", "the jails of two tiers")
    assert samples()['safe_script_environment_pool_target{environment="data"}'] == "4"
    assert samples()['safe_script_runs_total{status="ok",environment="data"}'] == "2"
    assert run_with(server, "", environment="data") == ("data", ALL)
    assert samples()['safe_script_environment_pool_target{environment="data"}'] == "6"
    assert samples()['safe_script_runs_total{status="ok",environment="data"}'] == "3"
    config = server.process.args[server.process.args.index("--config") + 1]
    ended = cli("doctor", "--config", config, *FLAGS, mode=mode)
    assert ended.stdout.decode().count("  data  ") == 1 and f"warm: {FULL}" in ended.stdout.decode()


def test_where_the_tier_is_not_there_a_larger_one_takes_the_script(configured, stand_ins):
    server, _ = configured(with_stand_ins(stand_ins, "warm = yes\n"))
    wait_ready(server, FULL)
    stuck = stand_ins / "numpy" / "stuck"
    stuck.touch(0o644)
    for imports in ("import numpy", "import numpy, pandas"):
        assert run_with(server, imports) == ("data", ALL)
    assert zygote(server, "data") == "up"
    stuck.unlink()
    for warm in ("numpy", "numpy pandas"):
        wait_ready(server, warm)
        assert run_with(server, "import " + warm.replace(" ", ", ")) == ("data", warm.split())
    for warm, larger in (("numpy", ALL[:2]), ("numpy pandas", ALL)):
        stuck.touch(0o644)
        before, since = len(events(server, "a zygote ended")), len(events(server, "zygote ready"))
        try:
            os.kill(ready(server, warm)[-1], signal.SIGKILL)
        except PermissionError:
            pytest.skip("another user's zygote")
        wait_until(lambda: len(events(server, "a zygote ended")) > before, "its end")
        for _ in range(3):
            assert run_with(server, "import " + warm.replace(" ", ", ")) == ("data", larger)
        stuck.unlink()
        wait_ready(server, warm, since)
        assert run_with(server, "import " + warm.replace(" ", ", ")) == ("data", warm.split())


def test_a_tier_that_cannot_be_had_harms_nobody(configured, stand_ins):
    server, _ = configured(with_stand_ins(stand_ins, "warm = yes\n"))
    wait_ready(server, FULL)
    broken = stand_ins / "numpy" / "broken"
    broken.touch(0o644)
    for _ in range(3):
        assert run_with(server, "import numpy") == ("data", ALL)
    wait_until(lambda: events(server, "a zygote could not be started"), "its failure")
    assert run_with(server, "import numpy") == ("data", ALL)
    assert run_with(server, "", environment="data") == ("data", ALL)
    assert (zygote(server, "data"), environments(server)["data"]["reason"]) == ("up", None)
    broken.unlink()
    assert run_with(server, "import numpy")[0] == "data"


def test_a_list_of_ones_own_has_no_tiers(configured, stand_ins):
    own, usual = "preload = numpy matplotlib pandas\n", "pool = 1\n"
    server, reload = configured(with_stand_ins(stand_ins, own))
    run_with(server, "import numpy")
    until(server, "data", "up")
    assert run_with(server, "import numpy") == ("data", ALL)
    reload(with_stand_ins(stand_ins, usual))
    wait_until(lambda: environments(server)["data"]["warm"] == FULL.split(), "the usual modules")
    run_with(server, "import numpy")
    pid = wait_ready(server, "numpy")
    assert run_with(server, "import numpy") == ("data", ["numpy"])
    before = len(events(server, "zygote ready"))
    reload(with_stand_ins(stand_ins, own))
    wait_until(lambda: pid not in {each.pid for each in server.children()}, "the tier's end")
    run_with(server, "import numpy")
    wait_until(lambda: run_with(server, "import numpy") == ("data", ALL), "the list of one's own")
    assert {each["warm"] for each in events(server, "zygote ready")[before:] if each["environment"] == "data"} <= {"numpy matplotlib pandas"}


def test_tiers_heed_a_reload(configured, stand_ins):
    server, reload = configured(with_stand_ins(stand_ins, "memory_bytes = 300MiB\n"))
    run_with(server, "import numpy")
    old = wait_ready(server, "numpy")
    # With less than the default's it cannot stand in for that; with as much it can again.
    reload(with_stand_ins(stand_ins, "memory_bytes = 200MiB\n"))
    wait_until(lambda: environments(server)["data"]["limits"]["memory_bytes"] == 200 * MIB, "the new limit")
    wait_until(lambda: old not in {each.pid for each in server.children()}, "the old zygote's end")
    assert run_with(server, "import numpy")[0] == "default"
    reload(with_stand_ins(stand_ins, "memory_bytes = 256MiB\nidle_ms = 300ms\n"))
    wait_until(lambda: run_with(server, "import numpy") == ("data", ["numpy"]), "the tier")
    until(server, "data", "down")
    assert events(server, "an idle zygote is put away") and not events(server, "a zygote ended")


def test_tiers_take_nobodys_place(configured, cli, mode, public_dir, stand_ins):
    """Sixteen environments, as without them, in the life of a server."""
    text = with_stand_ins(stand_ins) + "".join(f"[environment e{i}]\nwall_ms = 5s\n" for i in range(14))
    server, reload = configured(text)
    assert len(environments(server)) == 16
    for imports, warm in (("import numpy", "numpy"), ("import pandas", "numpy pandas")):
        run_with(server, imports)
        wait_ready(server, warm)
        assert run_with(server, imports) == ("data", warm.split())
    assert run_with(server, "", environment="data") == ("data", ALL)
    assert server.run(HELLO, environment="e13")["environment"] == "e13"
    reload(text.replace("[environment e13]", "[environment e14]"))
    (said,) = events(server, "a changed setting waits for a restart")
    assert said["environment"] == "e14" and "e13" not in environments(server) and "e14" not in environments(server)
    (public_dir / "config.ini").write_text(text + "[environment more]\nwall_ms = 5s\n")
    ended = cli("serve", "--check-config", "--config", public_dir / "config.ini", *FLAGS, mode=mode)
    assert ended.returncode != 0 and "at most 16 environments" in ended.stderr.decode()


def test_tiers_that_die_and_are_replaced_under_load(configured, stand_ins):
    server, reload = configured(with_stand_ins(stand_ins, "pool = 2\n"), *LONG)
    stop = []

    def client(imports, **options):
        done = 0
        while not stop:
            run_with(server, imports, **options)
            done += 1
        return done

    clients = [background(client, each) for each in ("import numpy", "import numpy", "import pandas", "import matplotlib")]
    clients.append(background(client, "", environment="data"))
    for warm in ("numpy", "numpy pandas", FULL):
        wait_ready(server, warm)
    for turn in range(6):
        warm = ("numpy", "numpy pandas", FULL)[turn % 3]
        since = len(events(server, "zygote ready"))
        try:
            os.kill(ready(server, warm)[-1], signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass
        reload(with_stand_ins(stand_ins, f"pool = 2\nmemory_bytes = {300 + turn}MiB\n"))
        wait_ready(server, warm, since)
    stop.append(True)
    assert all(each.result(PATIENCE) > 0 for each in clients)


def test_a_reload_is_in_force_for_a_zygote_that_is_put_away_by_it(configured):
    server, reload = configured("[environment one]\npreload = calendar\nwarm = yes\n")
    until(server, "one", "up")
    reload("[environment one]\npreload = calendar\nwall_ms = 900ms\n")
    until(server, "one", "down")
    wait_until(lambda: environments(server)["one"]["limits"]["wall_ms"] == 900, "the new limit")


def test_modules_are_warm_where_the_section_says_so_and_nowhere_else(configured, packages):
    server, _ = configured(f"""
        [environment default]
        path = {packages}
        [environment tiny]
        path = {packages}
        preload = tiny_warm
        warm = yes
        [environment apart]
        preload = calendar
        warm = yes
        """)
    until(server, "tiny", "up")
    listed = environments(server)
    assert listed["tiny"]["warm"] == ["tiny_warm"] and listed["default"]["warm"] == []
    assert {"name": "tiny_warm", "version": "1.5"} in listed["tiny"]["packages"]
    assert {"name": "tiny_warm", "version": "1.5"} not in listed["apart"]["packages"]
    assert server.run(LOADED, environment="tiny")["result"] == {"loaded": True, "value": 42}
    assert server.run(LOADED, environment="default")["result"] == {"loaded": False, "value": 42}
    chosen = server.run(LOADED)
    assert (chosen["environment"], chosen["result"]) == ("tiny", {"loaded": True, "value": 42})
    missing = server.run(USE, environment="apart")
    assert (missing["status"], missing["error"]["type"]) == ("script_error", "ModuleNotFoundError")
    # Its packages are not the default's, so nobody gets it who has not asked.
    until(server, "apart", "up")
    assert server.run("import calendar\ndef main():\n    return {}\n")["environment"] == "default"
    paths = [server.run("import sys\ndef main():\n    return {'path': sys.path}\n", environment=name)["result"] for name in ("default", "tiny")]
    assert paths[0] == paths[1]


HOOKED = """
import os
told = []
os.register_at_fork(before=lambda: told.append("before"), after_in_child=lambda: told.append("child"),
                    after_in_parent=lambda: told.append("parent"))
"""


def test_a_library_that_wants_to_know_of_forks_is_told_of_each_clone(configured, packages):
    """A run may hear of the clones before it, whose zygote was told of them, but of itself as the child."""
    (packages / "tiny_warm.py").write_text(HOOKED)
    server, _ = configured(f"[environment tiny]\npath = {packages}\npreload = tiny_warm\nwarm = yes\n")
    until(server, "tiny", "up")
    script = "import tiny_warm\nimport random\ndef main():\n    return {'told': tiny_warm.told, 'n': random.getrandbits(128)}\n"
    results = [server.run(script, environment="tiny")["result"] for _ in range(3)]
    for told in (result["told"] for result in results):
        assert told[-2:] == ["before", "child"]
        assert told[:-2] == ["before", "parent"] * (len(told) // 2 - 1)
    assert len({result["n"] for result in results}) == 3


def test_a_venv(configured, public_dir):
    top = public_dir / "venv"
    made = subprocess.run(["/usr/bin/python3", "-I", "-m", "venv", "--without-pip", top], capture_output=True)
    if made.returncode:
        pytest.skip("no venv module")
    (site,) = top.glob("lib/python3*/site-packages")
    (site / "tiny_warm.py").write_text(MODULE)
    for path in (top, *top.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)
    server, _ = configured(f"""
        [environment own]
        python = {top}/bin/python3
        preload = tiny_warm
        """)
    assert server.run(USE, environment="own")["result"] == {"value": 42}
    assert server.run(USE)["status"] == "script_error"
    assert server.run("import sys\ndef main():\n    return {'prefix': sys.prefix}\n", environment="own")["result"] == {"prefix": str(top)}


def test_limits_of_its_own_also_higher_ones(configured):
    server, _ = configured(f"""
        [limits]
        memory_bytes = 64MiB
        wall_ms = 10s
        [environment large]
        memory_bytes = 512MiB
        [environment short]
        wall_ms = 700ms
        """)
    large = f"def main():\n    return {{'x': len(bytearray({200 * MIB}))}}\n"
    assert server.execute(large).error == "memory limit exceeded: 64 MiB"
    assert server.execute(large, environment="large").json["result"] == {"x": 200 * MIB}
    sleep = "import time\ndef main():\n    time.sleep(60)\n    return {}\n"
    assert server.execute(sleep, environment="short").error == "time limit exceeded: 0.7 s"
    assert server.execute(HELLO, limits={"memory_bytes": 128 * MIB}).status == 400
    assert server.execute(HELLO, environment="large", limits={"memory_bytes": 128 * MIB}).status == 200
    assert server.execute(large, environment="large", limits={"memory_bytes": 128 * MIB}).error == "memory limit exceeded: 128 MiB"
    assert server.execute(HELLO, environment="large", limits={"memory_bytes": 1024 * MIB}).status == 400
    listed = environments(server)
    assert [listed[name]["limits"]["memory_bytes"] for name in ("default", "large", "short")] == [64 * MIB, 512 * MIB, 64 * MIB]
    # A script that names none keeps the default's limits, wherever it runs.
    assert server.execute(large).error == "memory limit exceeded: 64 MiB"


def test_a_zygote_is_started_when_first_needed_and_put_away_when_idle(configured):
    server, _ = configured("[environment lazy]\npreload = calendar\nidle_ms = 500ms\n")
    assert zygote(server, "lazy") == "down"
    for _ in range(2):
        assert server.run(HELLO, environment="lazy")["environment"] == "lazy"
        until(server, "lazy", "down")
        assert events(server, "an idle zygote is put away")
    assert not [each for each in events(server, "a zygote ended")]
    server.assert_serves()


def test_zygotes_that_nobody_needs_are_put_away_when_memory_is_short(configured):
    server, reload = configured("[server]\nspare_bytes = 0\n[environment more]\npreload = calendar\nwarm = yes\n")
    until(server, "more", "up")
    reload("[server]\nspare_bytes = 1024GiB\n[environment more]\npreload = calendar\nwarm = yes\n")
    until(server, "more", "down")
    assert events(server, "a zygote is put away: memory is short")
    assert server.run(HELLO, environment="more")["status"] == "ok"  # who names it gets it all the same
    reload("[server]\nspare_bytes = 0\n[environment more]\npreload = calendar\nwarm = yes\n")
    until(server, "more", "up")


def test_a_reload_changes_adds_and_takes_away(configured):
    server, reload = configured("[environment one]\npreload = calendar\nwarm = yes\n")
    until(server, "one", "up")
    reload("[environment one]\npreload = calendar, csv\nwarm = yes\n[environment two]\nwall_ms = 900ms\n")
    wait_until(lambda: environments(server)["one"]["warm"] == ["calendar", "csv"], "the new modules")
    assert server.run("import sys\ndef main():\n    return {'csv': 'csv' in sys.modules}\n", environment="one")["result"] == {"csv": True}
    assert server.run(HELLO, environment="two")["environment"] == "two"
    reload("[environment two]\nwall_ms = 800ms\n")
    answer = server.execute(HELLO, environment="one")
    assert answer.status == 400 and '"one"' in answer.error and '"two"' in answer.error
    assert "one" not in environments(server)
    wait_until(lambda: environments(server)["two"]["limits"]["wall_ms"] == 800, "the new limit")
    reload("[environment one]\npreload = calendar\n")
    assert server.run(HELLO, environment="one")["environment"] == "one"
    assert not events(server, "a zygote ended")
    reload("[environment three]\npython = /no/such/python\n")
    (said,) = events(server, "a changed setting waits for a restart")
    assert said["environment"] == "three"
    assert "three" not in environments(server)
    server.assert_serves()


def test_reloads_under_load_lose_no_request(configured):
    texts = [f"[environment busy]\npreload = {modules}\nwall_ms = {wall}s\npool = 2\n" for modules, wall in (("calendar", 20), ("csv", 25))]
    server, reload = configured(texts[0])
    stop = []

    def client(number, **options):
        done = 0
        while not stop:
            answer = server.execute(f"def main():\n    return {{'n': {number * 100000 + done}}}\n", **options)
            assert (answer.status, answer.json.get("result")) == (200, {"n": number * 100000 + done}), answer
            done += 1
        return done

    clients = [background(client, 1), background(client, 2, environment="busy"), background(client, 3, environment="busy")]
    for turn in range(6):
        reload(texts[(turn + 1) % 2])
    stop.append(True)
    assert all(each.result(PATIENCE) > 0 for each in clients)


def test_zygotes_that_die_and_are_recycled_under_load(configured):
    server, _ = configured("[server]\nrecycle_runs = 20\n[environment busy]\npreload = calendar\nwarm = yes\npool = 2\n", *LONG)
    until(server, "busy", "up")
    stop = []

    def client(**options):
        done = 0
        while not stop:
            answer = server.execute(HELLO, **options)
            assert answer.status == 200, answer
            done += 1
        return done

    clients = [background(client), background(client, environment="busy")]
    for _ in range(2):
        pid = [each["pid"] for each in events(server, "zygote ready") if each["environment"] == "busy"][-1]
        ready = len(events(server, "zygote ready"))
        try:
            os.kill(pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass  # recycled in the meantime
        wait_until(lambda: len(events(server, "zygote ready")) > ready, "another zygote")
    stop.append(True)
    assert all(each.result(PATIENCE) > 0 for each in clients)


def test_a_module_that_fails_marks_its_environment_and_no_other(configured, packages):
    (packages / "tiny_warm.py").write_text("raise RuntimeError('not today')\n")
    server, _ = configured(f"[environment bad]\npath = {packages}\npreload = tiny_warm\nwarm = yes\n")
    until(server, "bad", "failed")
    assert "RuntimeError: not today" in environments(server)["bad"]["reason"]
    answer = server.execute(HELLO, environment="bad")
    assert answer.status == 503 and '"bad"' in answer.error
    server.assert_serves()


def test_sections_that_cannot_be_are_refused_at_the_start(cli, public_dir, mode):
    for text, words in (
        ("[environment data]\npreload = no_such_module_here\n", ("no_such_module_here", "data")),
        ("[environment x]\npython = /no/such/python\n", ("/no/such/python", "environment x")),
        ("[environment x]\npath = /no/such/directory\n", ("/no/such/directory", "environment x")),
        ("[environment x]\npath = relative\n", ("relative", "line 2")),
        ("[environment X y]\nwarm = yes\n", ("small letters", "line 2")),
        ("[environment x]\nwarm = perhaps\n", ("perhaps", "no, yes")),
        ("[environment x]\nwram = yes\n", ("unknown setting", "wram")),
        ("[environment x]\nrequest_bytes = 1MiB\n", ("[limits]",)),
        ("[environment x]\npreload = os; import sys\n", ("list of modules",)),
    ):
        (public_dir / "config.ini").write_text(text)
        ended = cli("serve", "--listen", f"unix:{public_dir}/socket", "--config", public_dir / "config.ini", *FLAGS, mode=mode)
        assert ended.returncode in (1, 2), (text, ended)
        assert all(word in ended.stderr.decode() for word in words), (text, ended.stderr)


def test_the_command_line_names_an_environment(cli, public_dir, mode):
    config, script = public_dir / "config.ini", public_dir / "script.py"
    config.write_text("[environment more]\npreload = calendar\nmemory_bytes = 300MiB\n")
    script.write_text("import sys\ndef main():\n    return {'warm': 'calendar' in sys.modules}\n")
    for name, warm in (("more", b"true"), ("default", b"false")):
        ended = cli("run", script, "--config", config, "--environment", name, *FLAGS, mode=mode)
        assert (ended.returncode, ended.stdout) == (0, b'{"warm":' + warm + b"}\n"), ended
    ended = cli("run", script, "--config", config, "--environment", "other", *FLAGS, mode=mode)
    assert ended.returncode == 2 and b'"default"' in ended.stderr and b'"more"' in ended.stderr
    ended = cli("doctor", "--config", config, *FLAGS, mode=mode)
    assert ended.returncode == 0 and b"more" in ended.stdout and b"warm: calendar" in ended.stdout


def test_metrics_and_the_document_name_environments(configured):
    server, _ = configured("[environment more]\npreload = calendar\nwarm = yes\n")
    until(server, "more", "up")
    assert server.run(HELLO, environment="more")["status"] == "ok"
    page = server.request("GET", "/metrics").body.decode()
    assert 'safe_script_runs_total{status="ok",environment="more"} 1' in page
    assert re.search(r'safe_script_environment_pool_target\{environment="more"\} [1-9]', page)
    assert 'environment="more"' in re.search(r"safe_script_environment_pool\{.*more.*", page)[0]
    schema = server.request("GET", "/openapi.json").json["components"]["schemas"]["Environment"]
    assert "more" in schema["enum"] and schema["enum"][0] == "default"
