"""The manual pages and bash's completion, as they are built: well formed, and with all that the program knows."""
import email.utils
import json
import os
import pathlib
import pty
import re
import select
import subprocess
import time

import pytest

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("SAFE_SCRIPT_BUILD", REPOSITORY / "build")).resolve()
PAGES = ("safe-script.1", "safe-script.conf.5", "safe-script-api.7")
PATIENCE = 60


def text_of(page):
    """A page as a person reads it, each run of blanks as one."""
    wide = {**os.environ, "MANWIDTH": "1000", "MAN_KEEP_FORMATTING": "", "LC_ALL": "C.UTF-8", "MANOPT": "--no-hyphenation --no-justification"}
    shown = subprocess.run(["man", "--local-file", BUILD / page], env=wide, capture_output=True, text=True, check=True).stdout
    return re.sub(r"\s+", " ", shown)


def help_of(*arguments):
    return subprocess.run([BUILD / "safe-script", *arguments, "--help"], capture_output=True, text=True, check=True).stdout


def entries(text):
    """name → what is said of it, of the lines that --help indents."""
    found = re.findall(r"^ {2,4}(-*\w[\w.-]*) +(\S.*)$", text, re.MULTILINE)
    return {name: re.sub(r" +", " ", help) for name, help in found}


def flags_of(command):
    return {name: help for name, help in entries(help_of(command)).items() if name.startswith("--")}


@pytest.mark.parametrize("page", PAGES)
def test_a_page_is_well_formed(page):
    rendered = subprocess.run(["man", "--warnings", "-E", "UTF-8", "-Tutf8", "-Z", "--local-file", BUILD / page], capture_output=True, text=True)
    assert (rendered.returncode, rendered.stderr) == (0, "")
    linted = subprocess.run(["mandoc", "-Tlint", BUILD / page], capture_output=True, text=True).stdout
    # the tables' texts are lines of their own, however long
    assert [line for line in linted.splitlines() if "input text line longer than 80 bytes" not in line] == []
    assert text_of(page).startswith(page.rpartition(".")[0].upper() + "(" + page[-1] + ")")


def test_each_flag_is_in_the_page_with_its_help():
    page, flags = text_of("safe-script.1"), flags_of("serve")
    assert len(flags) > 35 and {"--listen", "--limits.wall_ms", "--log-format"} <= set(flags)
    for name, help in flags.items():
        assert name in page and help in page, name


@pytest.mark.parametrize("command", ("serve", "run", "doctor", "health", "policy", "key"))
def test_each_option_of_a_command_is_in_the_page(command):
    page = text_of("safe-script.1")
    assert f"safe-script {command}" in page
    for name, help in entries(help_of(command).split("Settings (", 1)[0]).items():
        assert f"{name} {help}" in page, name


def test_each_setting_and_limit_is_in_the_page_of_the_file():
    page, settings = text_of("safe-script.conf.5"), entries(help_of("serve"))
    for name, help in settings.items():
        if name in ("--config", "--check-config", "--help"):
            continue
        key = name.removeprefix("--limits.").removeprefix("--").replace("-", "_")
        assert f" {key} {help}" in page, name
    assert "wall_ms wall-clock time from the script's start (default 10 s) A whole number (milliseconds, or with ms, s, min) from 0.001 s to 86400 s." in page


def test_the_page_of_the_interface_has_the_statuses_limits_and_routes():
    page = text_of("safe-script-api.7")
    document = json.loads((BUILD / "openapi.json").read_text())
    schemas = document["components"]["schemas"]
    for path, methods in document["paths"].items():
        for method, route in methods.items():
            if method not in ("get", "post", "delete"):
                continue
            assert f"{method.upper()} {path} {route['summary']}" in page
    for status in schemas["Status"]["enum"]:
        assert re.search(rf" {status} \((200|400|500)\) ", page), status
    for name, limit in schemas["Limits"]["properties"].items():
        assert f" {name} {limit['description']} " in page, name
    for schema in ("Request", "Run"):
        for name, field in schemas[schema]["properties"].items():
            assert field["description"] in page, name
    for event in document["x-events"]:
        assert f" {event} " in page


def test_one_version_and_date_everywhere():
    version, date = re.search(r"version: '([^']*)'", (REPOSITORY / "meson.build").read_text())[1], None
    for page in PAGES:
        title = (BUILD / page).read_text().splitlines()[0]
        assert f'"safe-script {version}"' in title
        date = date or title.split('"')[1]
        assert title.split('"')[1] == date
    package = (REPOSITORY / "debian/changelog").read_text()
    assert package.startswith(f"safe-script ({version}) ")
    assert date == time.strftime("%Y-%m-%d", email.utils.parsedate(re.search(r"^ -- .*>  (.*)$", package, re.MULTILINE)[1]))
    assert re.search(rf"^## {re.escape(version)}$", (REPOSITORY / "CHANGELOG.md").read_text(), re.MULTILINE)


# ---- the picture ----


def test_the_picture_is_what_its_source_draws():
    drawn = subprocess.run(["/usr/bin/python3", "-I", REPOSITORY / "doc/processes.py"], capture_output=True, text=True, check=True).stdout
    assert (REPOSITORY / "doc/processes.svg").read_text() == drawn


def test_the_picture_has_the_processes_that_the_table_has():
    table = (REPOSITORY / "doc/ARCHITECTURE.md").read_text().split("| process |")[1].split("\n\n")[0]
    named = set(re.findall(r'class="name">(safe-[a-z-]+|zygote|run)\b', (REPOSITORY / "doc/processes.svg").read_text()))
    assert {"safe-script", "safe-starter", "safe-script-http", "safe-script-tls", "zygote", "run"} == named
    for name in named:
        assert re.search(rf"(`|^\| ){name}\b", table, re.MULTILINE), name


# ---- completion ----


class Shell:
    """An interactive bash on a terminal, as a person has it."""

    def __init__(self, directory):
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            os.chdir(directory)
            os.execvpe("bash", ["bash", "--norc", "--noprofile", "-i"], {"PATH": "/usr/bin:/bin", "PS1": "ready> ", "TERM": "dumb", "HOME": str(directory), "INPUTRC": "/dev/null", "LC_ALL": "C.UTF-8"})
        self.seen = ""
        self.wait_for("ready> ")
        self.type("bind 'set bell-style none'; bind 'set completion-query-items -1'; bind 'set page-completions off'; bind 'set show-all-if-ambiguous on'\n")
        self.wait_for("ready> ")
        self.type(f"source {BUILD}/safe-script.bash; safe-script() {{ :; }}; echo sour''ced\n")
        self.wait_for("sourced\r\nready> ")

    def type(self, text):
        self.seen = ""
        os.write(self.terminal, text.encode())

    def wait_for(self, text):
        end = time.monotonic() + PATIENCE
        while text not in self.seen:
            assert select.select([self.terminal], [], [], max(0, end - time.monotonic()))[0], f"no {text!r} in {self.seen!r}"
            self.seen += os.read(self.terminal, 65536).decode()

    def line_after(self, typed):
        """The command line that `typed`, with a TAB at its end, has become; and the choices that were shown before."""
        # A comment at its end, and the line from the history, whatever was drawn meanwhile.
        self.type(f"{typed}\t#end\n")
        self.wait_for("#end\r\nready> ")
        shown = self.seen
        self.type("history 2\n")
        self.wait_for("  history 2\r\nready> ")
        return re.search(r"\d+ +(.*)#end\r\n", self.seen)[1], shown

    def close(self):
        os.close(self.terminal)
        os.waitpid(self.pid, 0)


@pytest.fixture
def shell(tmp_path):
    (tmp_path / "script.py").write_text("def main():\n    return {}\n")
    (tmp_path / "my.conf").write_text("[server]\n")
    running = Shell(tmp_path)
    yield running
    running.close()


COMPLETED = {
    "safe-script ser": "safe-script serve ",
    "safe-script serve --tls-c": "safe-script serve --tls-certificate ",
    "safe-script serve --limits.wa": "safe-script serve --limits.wall_ms ",
    "safe-script serve --engine b": "safe-script serve --engine bubblewrap ",
    "safe-script serve --log-format=t": "safe-script serve --log-format=text ",
    "safe-script serve --config m": "safe-script serve --config my.conf ",
    "safe-script serve --config=m": "safe-script serve --config=my.conf ",
    "safe-script serve --pool ": "safe-script serve --pool ",
    "safe-script run s": "safe-script run script.py ",
    "safe-script run script.py --retu": "safe-script run script.py --return ",
    "safe-script key rev": "safe-script key revoke ",
}


def test_completion(shell):
    for typed, line in COMPLETED.items():
        assert shell.line_after(typed)[0] == line, typed


def test_completion_shows_what_there_is(shell):
    for command in ("serve", "run", "doctor", "health", "policy", "key"):
        assert command in shell.line_after("safe-script ")[1].split()
    assert set(flags_of("serve")) <= set(shell.line_after("safe-script serve --")[1].split())


# ---- what is installed ----

INSTALLED = """bin/safe-script lib/systemd/system/safe-script.service lib/systemd/system/safe-script.socket
    libexec/safe-script/safe-script-http libexec/safe-script/safe-script-run libexec/safe-script/safe-script-tls
    libexec/safe-script/safe-script-launch libexec/safe-script/bootstrap.py libexec/safe-script/_safe_script.abi3.so
    libexec/safe-script/nsjail.cfg share/man/man1/safe-script.1 share/man/man5/safe-script.conf.5
    share/man/man7/safe-script-api.7 share/bash-completion/completions/safe-script.bash
    share/safe-script/openapi.json share/safe-script/docker-seccomp.json""".split()


def test_meson_install_puts_all_in_place(tmp_path):
    subprocess.run(["meson", "install", "--no-rebuild", "--quiet", "-C", BUILD, "--destdir", tmp_path], check=True, capture_output=True)
    prefix = tmp_path / "usr/local"
    for path in INSTALLED:
        assert (prefix / path).is_file(), path
    said = subprocess.run([prefix / "bin/safe-script", "run", "-"], input=b'def main():\n    return {"message": "hello"}\n', env={}, capture_output=True)
    assert said.stdout == b'{"message":"hello"}\n', said.stderr


# ---- links ----


def test_what_a_page_links_to_is_there():
    pages = [page for pattern in ("*.md", "doc/**/*.md", "tests/**/*.md") for page in REPOSITORY.glob(pattern)]
    links = [(page, link) for page in pages for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text())]
    assert len(links) > 20
    assert [(page.name, link) for page, link in links if not (page.parent / link).exists()] == []
