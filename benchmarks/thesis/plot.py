"""Response time by iteration as SVG: a pane for each level, pushes above pulls."""

import statistics
from collections.abc import Sequence

from benchmarks.chart import colours_of, label
from benchmarks.thesis.load import Phase, Sample
from benchmarks.thesis.report import Report

_PANE, _HEIGHT, _GAP = 190, 190, 46
_LEFT, _TOP = 56, 84
_COLUMN = 2  # pixels; the iterations within a column are drawn as one bar from least to most


def draw(title: str, report: Report) -> str:
    """An SVG document of all panes, each with an axis of its own from 0."""
    width = _LEFT + len(report.levels) * (_PANE + _GAP)
    height = _TOP + 2 * (_HEIGHT + 2 * _GAP)
    colour = colours_of(report.sides)
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
            'font-family="system-ui, sans-serif" font-size="12">'
        ),
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        label(_LEFT, 24, title, size=16),
    ]
    for place, side in enumerate(report.sides):
        x = _LEFT + 150 * place
        parts.append(f'<rect x="{x}" y="38" width="12" height="12" fill="{colour[side]}"/>')
        parts.append(label(x + 18, 49, side))
    phases: tuple[Phase, ...] = ("push", "pull")
    for row, phase in enumerate(phases):
        for column, level in enumerate(report.levels):
            samples = {side: report.select(phase, side, level) for side in report.sides}
            x, y = _LEFT + column * (_PANE + _GAP), _TOP + row * (_HEIGHT + 2 * _GAP)
            parts += _pane(f"{phase}, {level} at a time", samples, colour, x, y)
    return "\n".join([*parts, "</svg>", ""])


def _pane(
    name: str, samples: dict[str, list[Sample]], colour: dict[str, str], x: int, y: int
) -> list[str]:
    times = [s.seconds * 1e3 for series in samples.values() for s in series]
    # One outlier must not flatten the rest: what is higher leaves the pane at its top.
    top = 1.1 * sorted(times)[int(len(times) * 0.995)] if times else 1.0
    count = max(map(len, samples.values()), default=1)
    bottom = y + _HEIGHT
    parts = [
        label(x + _PANE / 2, y - 8, name, anchor="middle"),
        f'<path d="M{x} {y}V{bottom}H{x + _PANE}" stroke="#222222" fill="none"/>',
        label(x, bottom + 16, "1"),
        label(x + _PANE, bottom + 16, str(count), anchor="end"),
    ]
    for share in (0.5, 1.0):
        at = bottom - share * _HEIGHT
        parts.append(f'<path d="M{x} {at}H{x + _PANE}" stroke="#dddddd"/>')
        parts.append(label(x - 4, at + 4, f"{share * top:,.0f}", anchor="end"))
    for side, series in samples.items():
        parts += _series(series, colour[side], x, bottom, top)
    return parts


def _series(series: Sequence[Sample], colour: str, x: int, bottom: int, top: float) -> list[str]:
    columns = min(_PANE // _COLUMN, len(series))
    bars, line = [], []
    for number in range(columns):
        start, end = (len(series) * n // columns for n in (number, number + 1))
        ms = [s.seconds * 1e3 for s in series[start:end]]
        at = x + (number + 0.5) * _PANE / columns
        low, middle, high = (
            bottom - min(value / top, 1) * _HEIGHT
            for value in (min(ms), statistics.median(ms), max(ms))
        )
        bars.append(f"M{at:.1f} {low:.1f}V{high:.1f}")
        line.append(f"{at:.1f} {middle:.1f}")
    shaded = f'stroke="{colour}" stroke-opacity="0.3" stroke-width="{_COLUMN}"'
    return [
        f'<path d="{"".join(bars)}" {shaded}/>',
        f'<path d="M{"L".join(line)}" stroke="{colour}" stroke-width="1.2" fill="none"/>',
    ]
