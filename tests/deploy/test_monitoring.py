"""Alerts and the dashboard: every metric in them is there, and every alert says what to do."""

import json
import re
from pathlib import Path

import pytest
import yaml

from deploy.k8s import render
from tests.deploy.rendered import objects, one
from tests.fixtures.programs import require_program

DOCS = Path(__file__).parents[2] / "docs"
DASHBOARD = json.loads((render.CHART / "files/dashboard.json").read_text())
ALERTS = yaml.safe_load((render.CHART / "files/alerts.yaml").read_text())["alerts"]

_METRIC = re.compile(r"\bmoorage_\w+")
_MATCHER = re.compile(r'(\w+)(?:=~|!=|!~|=)"([^"]*)"')


def documented():
    """Each metric's kind and labels, from its row."""
    rows = re.findall(
        r"^\| `(moorage_\w+)` \| (\w+) \| ([^|]*)\|",
        (DOCS / "reference/metrics.md").read_text(),
        re.MULTILINE,
    )
    return {name: (kind, set(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}


METRICS = documented()


def metric(series):
    """The metric that a series is of."""
    base = re.sub(r"_(bucket|sum|count)$", "", series)
    return base if METRICS.get(base, ("",))[0] == "histogram" else series


def expressions():
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", []):
            yield f"{panel['title']}-{target['refId']}", target["expr"]
    for alert in ALERTS:
        yield alert["alert"], alert["expr"]


@pytest.mark.parametrize(
    "expression", [text for _, text in expressions()], ids=[name for name, _ in expressions()]
)
def test_every_metric_exists_with_the_labels_that_are_asked_for(expression):
    plain = re.sub(r"\$\w+", "x", expression)
    for series, matchers in re.findall(r"\b(moorage_\w+)(?:\{([^}]*)\})?", plain):
        kind, labels = METRICS[metric(series)]
        asked = {label for label, _ in _MATCHER.findall(matchers)} - {"job"}
        assert asked <= labels, (series, asked - labels)
        rated = re.search(rf"(?:rate|increase)\({series}\b", plain)
        assert bool(rated) == (kind in {"counter", "histogram"}), (series, kind)
    for labels in re.findall(r"by \(([^)]*)\)", plain):
        known = set().union(*(METRICS[metric(series)][1] for series in _METRIC.findall(plain)))
        assert {each.strip() for each in labels.split(",")} <= known | {"le", "pod"}


def test_every_metric_is_looked_at():
    """By a panel or an alert, but for what says the same in other words."""
    seen = {metric(series) for _, text in expressions() for series in _METRIC.findall(text)}
    assert set(METRICS) - seen == set()


def test_panels_do_not_overlap_and_are_described():
    taken = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells
        assert panel["type"] == "row" or panel["description"], panel["title"]
    numbers = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(numbers)) == len(numbers)


def test_every_alert_has_its_page():
    headings = re.findall(
        r"^## (\w+)$", (DOCS / "how-to/answer-alerts.md").read_text(), re.MULTILINE
    )
    assert headings == [alert["alert"] for alert in ALERTS]


def test_alerts_get_to_prometheus_as_they_are():
    require_program("helm")
    found = objects("everything")
    (group,) = one(found, "PrometheusRule")["spec"]["groups"]
    for rule, alert in zip(group["rules"], ALERTS, strict=True):
        assert rule["expr"] == alert["expr"].replace("JOB", "images-metrics")
        assert rule["annotations"]["runbook_url"].endswith(f"#{alert['alert'].lower()}")
    service = one(found, "Service", "images-metrics")
    monitor = one(found, "ServiceMonitor")["spec"]
    assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert monitor["endpoints"][0]["port"] == service["spec"]["ports"][0]["name"]
    assert (
        json.loads(one(found, "ConfigMap", "images-dashboard")["data"]["moorage.json"]) == DASHBOARD
    )
