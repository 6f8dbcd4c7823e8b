"""The chart's dashboard, its panels asked of a Prometheus and drawn for a browser.

It draws what is in the dashboard's own JSON: places, titles, units, legends.
"""

import html
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from deploy.k8s import render
from tests.deploy.prometheus import Prometheus, Series

DASHBOARD = json.loads((render.CHART / "files/dashboard.json").read_text())

VARIABLES = {"$__rate_interval": "20s", "$job": ".*"}
"""What Grafana puts in: four scrapes and more, and all registries."""

_CELL, _ROW = 50, 26
_PAPER, _INK, _PALE = "#ffffff", "#24292f", "#8a929a"
_COLOURS = (
    *("#1f6f8b", "#e08e45", "#7a9e3f", "#8a5a9e", "#b0474f", "#5d6d7e"),
    *("#c9a227", "#3f7f5f", "#d0729a", "#4a65b5"),
)
_LEGEND = 8


@dataclass(frozen=True)
class Target:
    """An expression of a panel, as Prometheus gets it, and the name of its lines."""

    name: str
    expression: str
    legend: str

    def label(self, labels: Mapping[str, str]) -> str:
        """The name of a line with these labels."""
        return re.sub(r"\{\{(\w+)\}\}", lambda found: labels.get(found[1], ""), self.legend)


@dataclass(frozen=True)
class Panel:
    """A panel: a row's title, one number (`stat`) or lines over time."""

    kind: str
    title: str
    place: Mapping[str, int]
    unit: str
    targets: Sequence[Target]


def panels() -> Iterator[Panel]:
    """Every panel, in order."""
    for each in DASHBOARD["panels"]:
        targets = [
            Target(
                f"{each['id']} {each['title']} {target['refId']}",
                filled(target["expr"]),
                target.get("legendFormat", ""),
            )
            for target in each.get("targets", [])
        ]
        defaults = each.get("fieldConfig", {}).get("defaults", {})
        yield Panel(each["type"], each["title"], each["gridPos"], defaults.get("unit", ""), targets)


def filled(expression: str) -> str:
    """The expression with its variables filled in."""
    for name, value in VARIABLES.items():
        expression = expression.replace(name, value)
    return expression


def asked(prometheus: Prometheus, began: float, ended: float) -> dict[str, list[Series]]:
    """What each target's expression was, by the target's name."""
    return {
        target.name: prometheus.history(target.expression, began, ended)
        for panel in panels()
        for target in panel.targets
    }


def page(found: Mapping[str, Sequence[Series]], began: float, ended: float) -> str:
    """The whole dashboard as an HTML page with a picture in it."""
    wide = 24 * _CELL
    high = max(panel.place["y"] + panel.place["h"] for panel in panels()) * _ROW
    parts = [_drawn(panel, found, began, ended).replace("\n", "") for panel in panels()]
    return (
        f"<!doctype html><meta charset=utf-8><title>{_text(DASHBOARD['title'])}</title>"
        f'<body style="margin:0;background:#f3f4f6"><svg xmlns="http://www.w3.org/2000/svg" '
        f'width="{wide}" height="{high}" font-family="system-ui, sans-serif" font-size="11" '
        f'fill="{_INK}">{"".join(parts)}</svg>'
    )


def _drawn(panel: Panel, found: Mapping[str, Sequence[Series]], began: float, ended: float) -> str:
    x, y = panel.place["x"] * _CELL + 3, panel.place["y"] * _ROW + 3
    wide, high = panel.place["w"] * _CELL - 6, panel.place["h"] * _ROW - 6
    if panel.kind == "row":
        return f'<text x="{x + 4}" y="{y + 15}" font-size="14">{_text(panel.title)}</text>'
    lines = [
        (target.label(series.labels), series)
        for target in panel.targets
        for series in found[target.name]
    ]
    inner = (
        _number(lines, panel.unit, wide, high)
        if panel.kind == "stat"
        else _lines(lines, panel.unit, wide, high, began, ended)
    )
    return (
        f'<g transform="translate({x} {y})"><rect width="{wide}" height="{high}" rx="3" '
        f'fill="{_PAPER}"/><text x="8" y="16" font-weight="600">{_text(panel.title)}</text>'
        f"{inner}</g>"
    )


def _number(lines: Sequence[tuple[str, Series]], unit: str, wide: int, high: int) -> str:
    texts = [
        f"{name} {shown(series.points[-1][1], unit)}" if name else shown(series.points[-1][1], unit)
        for name, series in lines
    ] or ["no data"]
    middle = high / 2 + 14
    return "".join(
        f'<text x="{wide / 2}" y="{middle + 20 * number}" text-anchor="middle" '
        f'font-size="{26 if len(text) < 12 else 15}" fill="{_COLOURS[0]}">{_text(text)}</text>'
        for number, text in enumerate(texts)
    )


def _lines(
    lines: Sequence[tuple[str, Series]],
    unit: str,
    wide: int,
    high: int,
    began: float,
    ended: float,
) -> str:
    left, right, top, bottom = 54, wide - 10, 28, high - 44
    values = [value for _, series in lines for _, value in series.points if math.isfinite(value)]
    most = max(values, default=0) or 1
    parts = []
    for share in (0, 0.5, 1):
        at = bottom - share * (bottom - top)
        parts.append(
            f'<path d="M{left} {at:.1f}H{right}" stroke="{_PALE}" stroke-opacity="0.4"/>'
            f'<text x="{left - 5}" y="{at + 4:.1f}" text-anchor="end" fill="{_PALE}">'
            f"{_text(shown(share * most, unit))}</text>"
        )
    if not values:
        parts.append(
            f'<text x="{(left + right) / 2}" y="{(top + bottom) / 2}" text-anchor="middle" '
            f'fill="{_PALE}">no data</text>'
        )
    for number, (_, series) in enumerate(lines):
        colour = _COLOURS[number % len(_COLOURS)]
        path, last = [], 0.0
        for at, value in series.points:
            if math.isfinite(value):
                pen = "L" if path and at - last < 5 else "M"  # a gap is a gap
                x = left + (at - began) / (ended - began) * (right - left)
                path.append(f"{pen}{x:.1f} {bottom - value / most * (bottom - top):.1f}")
                last = at
        if path:
            parts.append(f'<path d="{"".join(path)}h1" fill="none" stroke="{colour}"/>')
    parts.append(_legend([name for name, _ in lines], wide, high))
    return "".join(parts)


def _legend(names: Sequence[str], wide: int, high: int) -> str:
    """The names of the lines, as many as there is room for."""
    x, y, parts = 8.0, high - 22, []
    for number, name in enumerate(names):
        size = 14 + 6.2 * len(name) + 10
        if x + size > wide:
            x, y = 8.0, y + 14
        if y > high - 6 or number >= 2 * _LEGEND:
            break
        colour = _COLOURS[number % len(_COLOURS)]
        parts.append(
            f'<rect x="{x:.0f}" y="{y - 5}" width="9" height="3" fill="{colour}"/>'
            f'<text x="{x + 13:.0f}" y="{y}">{_text(name)}</text>'
        )
        x += size
    return "".join(parts)


def shown(value: float, unit: str) -> str:
    """A value as a person reads it."""
    if unit == "percentunit":
        return f"{100 * value:.3g} %"
    if unit == "s" and value < 1:
        return f"{1000 * value:.3g} ms"
    scale, prefix = 1.0, ""
    for each in ("k", "M", "G"):
        if value < 1000 * scale:
            break
        scale, prefix = scale * 1000, each
    word = {"bytes": "B", "Bps": "B/s", "s": "s", "reqps": "/s", "ops": "/s"}.get(unit, "")
    return f"{value / scale:.3g} {prefix}{word}".strip()


def _text(text: Any) -> str:
    return html.escape(str(text))
