"""dist/grafana-dashboard.json and dist/prometheus-rules.yml ask only for what GET /metrics has."""
import json
import re

import pytest

import harness
import prometheus

DASHBOARD = harness.REPOSITORY / "dist" / "grafana-dashboard.json"
RULES = harness.REPOSITORY / "dist" / "prometheus-rules.yml"
OF_PROMETHEUS = {"instance", "job", "le", "alertname"}  # labels that are not the server's to give


@pytest.fixture(scope="module")
def metrics(server):
    """With a sample of everything that is only shown once it has happened."""
    server.run("import socket\ndef main():\n    try: socket.socket()\n    except OSError: pass\n    return {}\n")
    server.request("GET", "/metrics")
    return prometheus.parse(server.request("GET", "/metrics").body.decode())


def expressions():
    panels = json.loads(DASHBOARD.read_text())["panels"]
    found = [target["expr"] for panel in panels for target in panel["targets"]]
    found += re.findall(r"^ +expr: >?\s*(.*?)(?=\n +(?:for|labels):)", RULES.read_text(), re.M | re.S)
    return found


def check(expression, metrics):
    names = re.findall(r"\bsafe_script_\w+", expression)
    labels = set()
    for name in names:
        base = re.sub("_(bucket|sum|count)$", "", name)
        found = metrics.get(name) or metrics.get(base)
        assert found and (name == found.name) == (found.type != "histogram"), f"{name} is no metric: {expression}"
        if found.type == "counter":
            assert re.search(rf"(rate|increase)\({name}\b", expression), f"a counter without a rate: {expression}"
        labels |= {label for _, pairs in found.samples for label, _ in pairs}
    used = set(re.findall(r"(\w+) *(?:=~|!=|=)\s*\"", expression))
    for group in re.findall(r"by \(([^)]*)\)", expression):
        used |= set(re.split(r", *", group))
    assert used <= labels | OF_PROMETHEUS, f"labels that are not there: {used - labels}: {expression}"
    for label, value in re.findall(r"(\w+)=\"(\w+)\"", expression):
        values = {dict(pairs).get(label) for name in names if name in metrics for _, pairs in metrics[name].samples}
        assert label in OF_PROMETHEUS or label == "code" or value in values, f"{label} is never {value}: {expression}"


def test_the_check_finds_what_is_wrong(metrics):
    for wrong in ("safe_script_nothing", "rate(safe_script_runs_total{state=\"ok\"}[5m])", "safe_script_runs_total",
                  "rate(safe_script_runs_total{status=\"fine\"}[5m])", "sum by (colour) (safe_script_slots)",
                  "safe_script_run_wall_seconds"):
        with pytest.raises(AssertionError):
            check(wrong, metrics)


def test_every_expression_is_of_metrics_that_are_there(metrics):
    found = expressions()
    assert len(found) > 30
    for expression in found:
        assert "safe_script_" in expression or expression.startswith("up{"), expression
        check(expression, metrics)


def test_every_metric_is_in_the_dashboard(metrics):
    text = DASHBOARD.read_text()
    shown = {name for name in metrics if re.search(rf"\b{name}(_bucket)?\b", text)}
    assert set(metrics) - shown <= {"safe_script_zygotes_recycled_total", "safe_script_http_connections_total", "safe_script_records_kept",
                                    "safe_script_runs_in_flight", "safe_script_environment_pool_target", "safe_script_environment_pool"}


def test_the_panels_have_their_own_places():
    panels = json.loads(DASHBOARD.read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken = set()
    for panel in panels:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells
        assert panel["datasource"]["uid"] == "${datasource}"


def test_every_alert_is_tested():
    alerts = set(re.findall(r"- alert: (\w+)", RULES.read_text()))
    tested = set(re.findall(r'alertname="(\w+)"', (harness.REPOSITORY / "tests" / "prometheus-rules.test.yml").read_text()))
    assert alerts and alerts == tested
