"""A strict reader of Prometheus's text format 0.0.4. Anything that is not in the format's description, or that Prometheus
would take but a person would not write, is an AssertionError."""
import math
import re

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"'
SAMPLE = re.compile(rf"({NAME})(?:\{{({LABEL}(?:,{LABEL})*)\}})? (\S+)")
NUMBER = r"-?(?:\d+(?:\.\d+)?(?:e[+-]\d+)?|\+?Inf|NaN)"
TYPES = ("counter", "gauge", "histogram")


class Metric:
    def __init__(self, name, help_):
        self.name, self.help, self.type = name, help_, None
        self.samples = {}  # (suffix, ((label, value), …)) → number, in the order of the page

    def value(self, suffix="", **labels):
        return self.samples[suffix, tuple(sorted(labels.items()))]

    def total(self):
        return sum(value for (suffix, _), value in self.samples.items() if suffix == "")


def parse(text):
    """name → Metric."""
    assert text.endswith("\n"), "the last line has no end"
    metrics, current = {}, None
    for line in text[:-1].split("\n"):
        if line.startswith("# HELP "):
            name, help_ = re.fullmatch(rf"# HELP ({NAME}) (.+)", line).groups()
            assert name not in metrics, f"{name} stands there twice"
            assert current is None or current.type, f"{current.name} has no TYPE"
            current = metrics[name] = Metric(name, help_)
        elif line.startswith("# TYPE "):
            name, type_ = re.fullmatch(rf"# TYPE ({NAME}) (\w+)", line).groups()
            assert current is metrics.get(name) and current.type is None and not current.samples, line
            assert type_ in TYPES, line
            current.type = type_
        else:
            match = SAMPLE.fullmatch(line)
            assert match, f"no sample: {line!r}"
            sample(current, match.group(1), match.group(2) or "", match.group(match.lastindex), line)
    for metric in metrics.values():
        check(metric)
    return metrics


def sample(metric, name, labels, number, line):
    assert metric and metric.type, f"a sample before its TYPE: {line}"
    suffix = name[len(metric.name):]
    assert name.startswith(metric.name), f"a sample among another metric's: {line}"
    assert suffix in (("_bucket", "_sum", "_count") if metric.type == "histogram" else ("",)), line
    assert re.fullmatch(NUMBER, number), line
    pairs = re.findall(LABEL, labels)
    assert len(pairs) == len({label for label, _ in pairs}), f"a label twice: {line}"
    assert not any(label.startswith("__") for label, _ in pairs), line
    key = suffix, tuple(sorted(pairs))
    assert key not in metric.samples, f"twice: {line}"
    metric.samples[key] = float(number)


def check(metric):
    assert metric.type, metric.name
    if metric.type == "counter":
        assert metric.name.endswith("_total"), metric.name
        assert all(value >= 0 and math.isfinite(value) for value in metric.samples.values()), metric.name
    else:
        assert not metric.name.endswith(("_total", "_bucket", "_sum", "_count")), metric.name
    if metric.type == "histogram":
        check_histogram(metric)


def check_histogram(metric):
    series = {tuple(pair for pair in labels if pair[0] != "le") for _, labels in metric.samples}
    for labels in series:
        buckets = [(float(dict(each)["le"].replace("+Inf", "inf")), value) for (suffix, each), value in metric.samples.items()
                   if suffix == "_bucket" and tuple(pair for pair in each if pair[0] != "le") == labels]
        bounds, counts = [bound for bound, _ in buckets], [count for _, count in buckets]
        assert bounds == sorted(set(bounds)) and bounds[-1] == math.inf, metric.name
        assert counts == sorted(counts), f"{metric.name}: not cumulative"
        assert metric.samples["_count", labels] == counts[-1], metric.name
        assert metric.samples["_sum", labels] >= 0, metric.name
