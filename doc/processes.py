#!/usr/bin/python3 -I
"""The picture of the processes: doc/processes.py >doc/processes.svg. What is in it are the rows of two tables."""

WIDTH, HEIGHT = 1000, 500

# name, x, y, width, height, class, lines: the first is the name, the rest is smaller
BOXES = (
    ("client", 16, 172, 104, 66, "outside", ("client",)),
    ("tls", 216, 24, 190, 84, "template maybe", ("safe-script-tls", "has the private key", "(where TLS is spoken)")),
    ("front", 216, 160, 190, 90, "template", ("safe-script-http", "parses what strangers send", "no files, no fork, no network", "but its clients")),
    ("starter", 500, 24, 190, 84, "host", ("safe-starter", "keeps the privileges", "takes three fixed orders")),
    ("supervisor", 500, 160, 190, 90, "host", ("safe-script", "admits, keeps the clock, kills", "parses nothing that", "a stranger or a script wrote")),
    ("zygote", 786, 160, 198, 90, "template", ("zygote: python3", "warm, one per environment", "never reads a byte", "that a script wrote")),
    ("run", 320, 360, 200, 84, "jail", ("run", "compiles, calls main(),", "reports, is killed")),
    ("waiting", 640, 360, 150, 84, "jail", ("waiting", "jailed before", "the script comes")),
    ("waiting too", 834, 360, 150, 84, "jail", ("waiting",)),
)

# points, class, text, and where that stands
ARROWS = (
    (((120, 195), (216, 195)), "", "script", (168, 186)),
    (((216, 217), (120, 217)), "", "JSON", (168, 235)),
    (((68, 172), (68, 66), (216, 66)), "maybe", "TLS", (142, 57)),
    (((311, 108), (311, 160)), "maybe", "a socket each", (262, 138)),
    (((406, 185), (500, 185)), "", "RUN", (453, 176)),
    (((500, 225), (406, 225)), "", "OUTCOME", (453, 244)),
    (((595, 160), (595, 108)), "", "orders", (626, 138)),
    (((500, 66), (406, 66)), "order", "begins", (453, 57)),
    (((446, 66), (446, 134), (380, 134), (380, 160)), "order", "", (0, 0)),
    (((690, 66), (885, 66), (885, 160)), "order", "begins", (790, 57)),
    (((690, 205), (786, 205)), "", "SPAWN", (738, 196)),
    (((885, 250), (885, 360)), "", "clone", (910, 310)),
    (((885, 305), (715, 305), (715, 360)), "", "", (0, 0)),
    (((640, 402), (520, 402)), "order", "a request", (580, 393)),
    (((565, 250), (565, 330), (470, 330), (470, 360)), "", "START, kill", (519, 321)),
    (((370, 360), (370, 250)), "", "report, stdout, stderr", (292, 310)),
)

NOTES = (
    (16, 482, "host", "on the host"),
    (140, 482, "template", "empty net, uts, mount; read-only root; no privileges"),
    (530, 482, "jail", "and, for one run each, the layers of the jail that hold here"),
)

STYLE = """
text { font: 12px system-ui, sans-serif; fill: #1f2328; text-anchor: middle }
.name { font-weight: 600; font-size: 13px }
.note { text-anchor: start; font-size: 12px }
rect { stroke-width: 1.5; rx: 6px }
path { fill: none; stroke: #57606a; stroke-width: 1.5 }
.head { fill: #57606a; stroke: none }
.outside { fill: #f6f8fa; stroke: #57606a }
.host { fill: #ddf4ff; stroke: #0969da }
.template { fill: #fff8c5; stroke: #9a6700 }
.jail { fill: #ffebe9; stroke: #cf222e; stroke-width: 3 }
.maybe, .order { stroke-dasharray: 5 4 }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 }
path { stroke: #9198a1 }
.head { fill: #9198a1 }
.outside { fill: #161b22; stroke: #9198a1 }
.host { fill: #0c2d6b; stroke: #58a6ff }
.template { fill: #4b3a00; stroke: #d4a72c }
.jail { fill: #5d0f12; stroke: #ff7b72 }
}"""


def text(x, y, words, kind=""):
    words = words.replace("&", "&amp;").replace("<", "&lt;")
    return f'<text x="{x:g}" y="{y:g}"' + (f' class="{kind}"' if kind else "") + f">{words}</text>"


def box(_, x, y, width, height, kind, lines):
    yield f'<rect x="{x}" y="{y}" width="{width}" height="{height}" class="{kind}"/>'
    first = y + height / 2 - 8 * (len(lines) - 1) + 5
    for number, line in enumerate(lines):
        yield text(x + width / 2, first + 16 * number, line, "" if number else "name")


def arrow(points, kind, words, where):
    (x0, y0), (x, y) = points[-2:]
    across, down = (x > x0) - (x < x0), (y > y0) - (y < y0)
    line = "L".join(f"{a} {b}" for a, b in (*points[:-1], (x - 7 * across, y - 7 * down)))
    yield f'<path d="M{line}"' + (f' class="{kind}"' if kind else "") + "/>"
    corners = ((x, y), (x - 9 * across - 4 * down, y - 9 * down - 4 * across), (x - 9 * across + 4 * down, y - 9 * down + 4 * across))
    yield '<path class="head" d="M' + "L".join(f"{a} {b}" for a, b in corners) + 'Z"/>'
    if words:
        yield text(*where, words)


def note(x, y, kind, words):
    yield f'<rect x="{x}" y="{y - 11}" width="22" height="14" class="{kind}"/>'
    yield text(x + 30, y, words, "note")


def picture():
    yield f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img">'
    yield "<title>The processes of safe-script</title>"
    yield f"<style>{STYLE}\n</style>"
    for draw, rows in ((arrow, ARROWS), (box, BOXES), (note, NOTES)):
        for row in rows:
            yield from draw(*row)
    yield "</svg>"


if __name__ == "__main__":
    print("\n".join(picture()))
