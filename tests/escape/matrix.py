"""What the campaign measured, as text: each attack against each removed layer, and in short, for doc/ATTACKS.md, each class.

As a program, after the tests have run: puts the short form that they wrote into that page."""
import pathlib
import re
import sys

HERE = pathlib.Path(__file__).resolve().parent
PAGE = HERE.parents[1] / "doc/ATTACKS.md"
MARKS = "<!-- measured: {} -->\n", "<!-- end of {} -->\n"


def block(mode, table):
    return MARKS[0].format(mode) + table + MARKS[1].format(mode)


def columns(mode):
    import campaign
    return [each for each in [*campaign.whole(), *campaign.ablated()] if each.mode == mode]


def is_held(server, name):
    """None where the two do not meet."""
    import campaign
    if server.without and name not in campaign.LAYERED:
        return None
    return campaign.outcome(server, name)["through"] is None


def whole(mode):
    import campaign
    words = {True: "held", False: "THROUGH", None: "-"}
    servers = columns(mode)
    lines = [f"{mode:52} " + " ".join(f"{'-'.join(each.without) or 'all layers':10}" for each in servers)]
    for name in campaign.ATTACKS:
        lines.append(f"{name:52} " + " ".join(f"{words[is_held(each, name)]:10}" for each in servers))
    return "\n".join(lines) + "\n"


def short(mode):
    """Attacks held / attacks, by class and removed layer."""
    import campaign
    import corpus
    servers = columns(mode)
    lines = ["| class | " + " | ".join("-".join(each.without) or "none" for each in servers) + " |", "|---|" + "---|" * len(servers)]
    for kind in corpus.CLASSES:
        names = [name for name, attack in campaign.ATTACKS.items() if attack.kind == kind]
        if not names:
            continue
        cells = []
        for server in servers:
            met = [held for held in (is_held(server, name) for name in names) if held is not None]
            cells.append(f"{sum(met)}/{len(met)}" if met else "–")
        lines.append(f"| {kind} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def totals():
    """The page's classes added up, for README.md: a line for each mode."""
    page = PAGE.read_text()
    layers, sums = [], {}
    for mode in ("root", "user"):
        begin, end = (mark.format(mode) for mark in MARKS)
        head, _, *rows = [line.split("|")[2:-1] for line in page.split(begin)[1].split(end)[0].splitlines()]
        sums[mode] = {name.strip(): [0, 0] for name in head}
        layers = layers or list(sums[mode])
        for row in rows:
            for name, cell in zip(sums[mode], row):
                for at, number in enumerate(re.findall(r"\d+", cell)):
                    sums[mode][name][at] += int(number)
    cell = lambda mode, name: "{}/{}".format(*sums[mode][name]) if name in sums[mode] else "–"
    lines = ["| as | " + " | ".join(layers) + " |", "|---|" + "---|" * len(layers)]
    lines += [f"| {mode} | " + " | ".join(cell(mode, name) for name in layers) + " |" for mode in sums]
    return "\n".join(lines) + "\n"


def main(build):
    text = PAGE.read_text()
    for path in pathlib.Path(build).glob("escape-*.md"):
        mode = path.stem.removeprefix("escape-")
        begin, end = (mark.format(mode) for mark in MARKS)
        text, count = re.subn(re.escape(begin) + ".*?" + re.escape(end), lambda _: block(mode, path.read_text()), text, flags=re.S)
        assert count == 1, f"{PAGE} has no place for {mode}"
    PAGE.write_text(text)
    print(totals(), end="")


if __name__ == "__main__":
    main(*sys.argv[1:])
