"""Fixtures: the shared server (once as root, once as an ordinary user), servers of a test's own, the command line."""
import itertools
import pathlib
import shutil
import subprocess

import pytest

import harness
from harness import BUILD, IS_ROOT, MODES, PARTS, PATIENCE, Server, Traces

_numbers = itertools.count()


def pytest_configure(config):
    harness.become_subreaper()
    if IS_ROOT and hasattr(config, "workerinput"):  # one of several at the same time (pytest-xdist)
        base = pathlib.Path(config.option.basetemp)
        harness.place_of_own(base.with_name(base.name + "-place"))
        base.parent.mkdir(parents=True, exist_ok=True)


@pytest.fixture(scope="session")
def builds():
    """mode → directory of the executables. A missing build is a failure: these tests are never skipped in silence."""
    missing = [part for part in PARTS if not (BUILD / part).exists()]
    if missing:
        pytest.fail(f"not built: {', '.join(missing)} in {BUILD} (set SAFE_SCRIPT_BUILD)")
    if not IS_ROOT:
        yield {"user": BUILD}
        return
    copy = harness.copy_build()
    yield {"root": BUILD, "user": copy}
    shutil.rmtree(copy)


@pytest.fixture(scope="session")
def launch(builds, tmp_path_factory):
    """launch(*args, env=None, user=None, listen=None, ready=True, stderr=None) → Server. `user`: True for an ordinary uid,
    False for root, None for whoever runs the tests. `stderr`: a descriptor for the log, else server.log. `listen`: a path
    for a Unix socket, "" for no --listen at all. `tls`: the clients' ssl.SSLContext where its address is to speak TLS.
    `wrap`: a command that is to exec it. `build`: a directory of executables in place of the build's. The caller stops
    it."""
    logs = tmp_path_factory.mktemp("logs")

    def start(*args, env=None, user=None, listen=None, port=None, ready=True, stderr=None, tls=None, wrap=(), build=None):
        mode = "user" if user or not IS_ROOT else "root"
        address = str(listen) if listen else ("127.0.0.1", port or harness.free_port())
        where = f"unix:{listen}" if listen else f"{address[0]}:{address[1]}"
        flags = [] if listen == "" else ["--listen", f"tls:{where}" if tls else where]
        python = [] if "--python" in args else harness.python_flag()
        log = logs / f"server-{next(_numbers)}.log"
        traces = Traces()
        with open(log, "wb") as file:
            process = subprocess.Popen(
                [*wrap, *harness.command(build or builds[mode], mode, "serve", *flags, *harness.FLAGS, *python, *args)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr or file,
                env=harness.environment(env),
                cwd="/",
            )
        server = Server(process, mode, address, log)
        server.traces = traces
        server.tls = tls
        if ready:
            try:
                server.wait_ready()
            except BaseException:
                if process.poll() is None:
                    process.kill()
                server.wait_exit()
                raise
        return server

    return start


@pytest.fixture(scope="session", params=MODES)
def server(request, launch):
    """The server that most tests share; its end is a test, too."""
    running = launch(user=request.param == "user")
    yield running
    running.stop()


@pytest.fixture
def start_server(launch):
    """As `launch`, for servers of one test; each is stopped after it, and must leave nothing behind."""
    started = []

    def start(*args, **options):
        started.append(launch(*args, **options))
        return started[-1]

    yield start
    failures = []
    for each in reversed(started):
        try:
            each.stop()
        except AssertionError as failure:
            failures.append(str(failure))
    assert not failures, "\n".join(failures)


@pytest.fixture(params=MODES)
def mode(request):
    """For tests that start their own servers and hold for each way to run: pass user=(mode == "user")."""
    return request.param


@pytest.fixture
def cli(builds):
    """cli(*args, mode=…, env=…, stdin=bytes) → CompletedProcess of safe-script, output as bytes."""

    def call(*args, mode=MODES[0], env=None, stdin=b"", timeout=PATIENCE):
        return subprocess.run(
            harness.command(builds[mode], mode, *args),
            input=stdin,
            capture_output=True,
            env=harness.environment(env),
            cwd="/",
            timeout=timeout,
            check=False,
        )

    return call


@pytest.fixture
def public_dir(tmp_path_factory):
    """A directory that an ordinary user's process can reach and write to (pytest's own are for their owner alone)."""
    directory = pathlib.Path(harness.tempfile.mkdtemp(prefix="api-tests-"))
    directory.chmod(0o777)
    yield directory
    shutil.rmtree(directory)
