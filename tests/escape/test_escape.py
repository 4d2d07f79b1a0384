"""The corpus against the jail: with all its layers; with each one removed; with all removed that stop an attack, which must then get
through, so that none is a blank; and with each wall that is said to stop it left alone.

Each attack against each server is one test. README.md says how to add an attack."""
import os
import subprocess

import pytest

import campaign
import matrix
from campaign import ATTACKS, BUILD, LAYERED
from harness import environment


def test_the_shipped_build_leaves_nothing_out():
    for command in (["serve"], ["run", "/dev/null"], ["doctor"], ["policy"]):
        ended = subprocess.run([BUILD / "safe-script", *command, "--without=root"], capture_output=True, env=environment(), check=False)
        assert ended.returncode == 2 and b"unknown" in ended.stderr, (command, ended)
    assert b"--without" not in (BUILD / "safe-script").read_bytes()


@pytest.mark.parametrize("name", ATTACKS)
def test_the_file_is_whole(name):
    assert list(ATTACKS[name].faults()) == []


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize("server", campaign.whole(), ids=str)
def test_all_layers(server, name):
    """Held; but in a place where no wall against it can be had (SINGLE), which tests/env makes, it gets through."""
    outcome, attack = campaign.outcome(server, name), ATTACKS[name]
    assert outcome["wrong"] == []
    if attack.stops and not set(attack.stops) & campaign.walls(server):
        assert attack.single and "SAFE_SCRIPT_PLACE" in os.environ, "no wall is left"
        assert outcome["through"], f"SINGLE is declared, but something stopped it: {outcome}"
    else:
        assert outcome["through"] is None


@pytest.mark.parametrize("name", LAYERED)
@pytest.mark.parametrize("server", campaign.ablated(), ids=str)
def test_one_layer_less(server, name):
    """Held by what is left; where that is nothing, got through, and the file says why."""
    outcome, attack = campaign.outcome(server, name), ATTACKS[name]
    left = sorted(set(attack.stops) & campaign.walls(server))
    if left:
        assert outcome["through"] is None, f"got through, though {left} should stop it"
        assert outcome["wrong"] == []
    else:
        assert attack.single, "no wall is left, and the file has no SINGLE that says why"
        assert outcome["through"], f"SINGLE is declared, but something stopped it: {outcome}"


@pytest.mark.parametrize("name", LAYERED)
def test_it_is_no_blank(name):
    server = campaign.bare(name)
    outcome, left = campaign.outcome(server, name), campaign.walls(server)
    assert not set(ATTACKS[name].stops) & left, f"these cannot be taken away: {left}"
    assert outcome["through"], f"held, though only {sorted(left)} are there: {outcome}"


@pytest.mark.parametrize(("name", "wall"), campaign.lonely())
def test_each_wall_alone(name, wall):
    server = campaign.lone(name, wall)
    outcome, left = campaign.outcome(server, name), campaign.walls(server)
    assert wall in left, f"{wall} does not hold without the others: {left}"
    assert outcome["through"] is None, outcome
    assert outcome["wrong"] == []


@pytest.mark.parametrize("server", campaign.whole(), ids=str)
def test_the_server_knows_its_walls(server):
    """What /v1/jail says of each class is what the attacks of that class show: the walls, and where there is but one."""
    here = campaign.walls(server)
    for row in campaign.battery(server)["classes"]:
        attacks = [ATTACKS[name] for name in LAYERED if ATTACKS[name].kind == row["class"]]
        if not attacks:
            continue
        standing = [set(attack.stops) & here for attack in attacks]
        shown = set.union(*standing)
        assert set(row["walls"]) <= shown, f"{row}: no attack shows {set(row['walls']) - shown}"
        alone = [attack.name for attack, walls in zip(attacks, standing) if len(walls) < 2]
        assert row["one"] or not alone, f"{row} says nothing of a single wall, but that is all there is for {alone}"
        unsaid = [attack.name for attack in attacks if attack.single and not row["one"]]
        assert not unsaid, f"{unsaid} declare a single wall, {row} does not"


@pytest.mark.parametrize("server", [*campaign.whole(), *campaign.ablated()], ids=str)
def test_the_server_outlives_them(server):
    """All of its runs are gone, nothing outside has changed, and it stops as it should."""
    assert campaign.battery(server)["wrong"] == []


@pytest.mark.parametrize("mode", campaign.MODES)
def test_the_matrix(mode, capsys):
    """Printed, written into the build directory, and its short form is what doc/ATTACKS.md shows."""
    text, table = matrix.whole(mode), matrix.short(mode)
    (BUILD / f"escape-{mode}.txt").write_text(text)
    (BUILD / f"escape-{mode}.md").write_text(table)
    with capsys.disabled():
        print("\n" + text)
    assert matrix.block(mode, table) in matrix.PAGE.read_text(), f"doc/ATTACKS.md is stale: run tests/escape/matrix.py {BUILD}"
