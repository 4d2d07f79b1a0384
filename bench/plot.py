"""The results as a picture: for each section with rivals, bars on a logarithmic scale."""
import html
import math

WIDTH, LABEL, BAR, GAP = 860, 250, 18, 8
OURS, THEIRS, TAIL = "#1a7f5a", "#8a8f98", "#c9ccd1"


def panel(title, rows, unit, top):
    """rows: (name, value, tail or None). Returns the elements, and where the next panel begins."""
    values = [value for _, value, tail in rows for value in (value, tail) if value]
    low = 10 ** math.floor(math.log10(min(values)))
    high = 10 ** math.ceil(math.log10(max(values) * 1.001))
    place = lambda value: (WIDTH - LABEL - 110) * math.log(value / low) / math.log(high / low)
    out = [f'<text x="0" y="{top + 14}" class="title">{html.escape(title)}</text>']
    y = top + 26
    for name, value, tail in rows:
        colour = OURS if name.startswith("safe-script") else THEIRS
        if tail:
            out.append(f'<rect x="{LABEL}" y="{y + 5}" width="{place(tail):.1f}" height="{BAR - 10}" fill="{TAIL}"/>')
        out.append(f'<rect x="{LABEL}" y="{y}" width="{max(place(value), 1):.1f}" height="{BAR}" fill="{colour}"/>')
        out.append(f'<text x="{LABEL - 8}" y="{y + 13}" text-anchor="end">{html.escape(name)}</text>')
        end = LABEL + place(max(value, tail or 0)) + 6
        words = f"{value:,.3g} {unit}" + (f" (p99 {tail:,.3g})" if tail else "")
        out.append(f'<text x="{end:.1f}" y="{y + 13}">{words}</text>')
        y += BAR + GAP
    return out, y + 16


PANELS = (
    ("latency", "hello, one client: median and p99, logarithmic", "ms", "median_ms", "p99_ms"),
    ("throughput", "hello, many clients: runs per second, logarithmic", "/s", "per_second", None),
    ("data", "numpy and pandas: median and p99, logarithmic", "ms", "median_ms", "p99_ms"),
)


def svg(results):
    parts, top = [], 10
    for section, title, unit, key, tail in PANELS:
        rows = results["sections"].get(section)
        if rows:
            drawn = [(name, row[key]["value"], row[tail]["value"] if tail else None) for name, row in rows.items()]
            more, top = panel(title, drawn, unit, top)
            parts += more
    told = results["machine"]
    note = f"{told['cpu']}, {told['cores']} cores, Linux {told['kernel']}, {told['python']}"
    parts.append(f'<text x="0" y="{top + 6}" class="note">{html.escape(note)}</text>')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="-10 0 {WIDTH + 20} {top + 20}" width="{WIDTH + 20}" height="{top + 20}">\n'
        "<style>text{font:13px sans-serif;fill:#333}.title{font-weight:bold}.note{fill:#777;font-size:11px}</style>\n"
        f'<rect x="-10" width="{WIDTH + 20}" height="{top + 20}" fill="#fff"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )
