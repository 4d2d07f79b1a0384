"""What README.md shows is what happens: each command as it stands there, each script of its table."""
import os
import re
import subprocess
import sys

import pytest

from harness import BUILD, HELLO, PATIENCE, REPOSITORY

TEXT = (REPOSITORY / "README.md").read_text()
ADDRESS = "http://127.0.0.1:8080"


def rows():
    """(script, status, body) of the table of scripts."""
    table = TEXT[TEXT.index("| the script | status | body |") :].split("\n\n")[0]
    return [re.fullmatch(r"\| `(.*)` \| (\d+) \| `(.*)` \|", line).groups() for line in table.splitlines()[2:]]


def commands():
    """(command, what it shows) of the blocks that begin with "$ curl" or "$ build/safe-script"."""
    for block in re.findall(r"(?:^    .*\n)+", TEXT, re.MULTILINE):
        lines = re.sub("^    ", "", block, flags=re.MULTILINE)
        for command, shown in re.findall(r"^\$ ((?:.*\\\n)*.*)\n((?:[^$].*\n)*)", lines, re.MULTILINE):
            if command.startswith(("curl ", "build/safe-script ")):
                yield command, shown


@pytest.mark.parametrize("script, status, body", rows())
def test_a_script_of_the_table(server, script, status, body):
    answer = server.execute(script)
    assert (answer.status, answer.body.decode()) == (int(status), body)


@pytest.mark.parametrize("command, shown", commands())
def test_a_command(server, public_dir, command, shown):
    (public_dir / "script.py").write_text(HELLO)
    os.symlink(BUILD, public_dir / "build")
    assert ADDRESS in command or command.startswith("build/")
    command = command.replace(ADDRESS, f"http://127.0.0.1:{server.port}").replace("curl ", "curl --silent --show-error ")
    done = subprocess.run(["bash", "-c", command], cwd=public_dir, env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    assert not shown or done.stdout.strip() == shown.strip()
    assert shown or done.stdout.strip()


def test_there_are_scripts_and_commands():
    assert len(rows()) >= 8 and sum(bool(shown) for _, shown in commands()) >= 1 and len(list(commands())) >= 4


def test_the_attacks_add_up():
    sys.path.insert(0, str(REPOSITORY / "tests/escape"))
    import matrix

    assert matrix.totals() in TEXT
