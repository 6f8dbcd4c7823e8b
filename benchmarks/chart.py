"""A small bar chart in SVG: ratios on a logarithmic axis, with their ranges."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from benchmarks.figures import Range

_WIDTH = 1040
_LEFT = 430
_RIGHT = 190
_BAR = 14
_GAP = 4
_GROUP = 14
_TOP = 74
_COLOURS = ("#1f6f8b", "#e08e45", "#7a9e3f", "#8a5a9e", "#b0474f", "#5d6d7e")


@dataclass(frozen=True, slots=True)
class Bar:
    """One side's ratio, and what to write beside it."""

    side: str
    ratio: Range
    label: str


def draw(title: str, groups: Sequence[tuple[str, Sequence[Bar]]]) -> str:
    """An SVG document; groups of bars under their names, a line at 1."""
    bars = [bar for _, group in groups for bar in group]
    low = min([0.8, *(bar.ratio.low for bar in bars)]) / 1.1
    high = max([2.0, *(bar.ratio.high for bar in bars)]) * 1.1
    axis = _Axis(math.log(low), math.log(high))
    colours = colours_of([bar.side for bar in bars])
    parts, y = [], _TOP
    for name, group in groups:
        height = len(group) * (_BAR + _GAP)
        parts.append(label(_LEFT - 10, y + height / 2 + 2, name, anchor="end"))
        for bar in group:
            parts += _bar(bar, axis, y, colours[bar.side])
            y += _BAR + _GAP
        y += _GROUP
    return "\n".join(
        [
            (
                f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {y + 30}" '
                'font-family="system-ui, sans-serif" font-size="12">'
            ),
            f'<rect width="{_WIDTH}" height="{y + 30}" fill="#ffffff"/>',
            label(_LEFT, 24, title, size=16),
            *_legend(colours),
            *_grid(axis, low, high, y),
            *parts,
            "</svg>",
            "",
        ]
    )


@dataclass(frozen=True, slots=True)
class _Axis:
    low: float
    high: float

    def x(self, ratio: float) -> float:
        share = (math.log(ratio) - self.low) / (self.high - self.low)
        return _LEFT + share * (_WIDTH - _LEFT - _RIGHT)


def _bar(bar: Bar, axis: _Axis, y: float, colour: str) -> list[str]:
    one, end = axis.x(1), axis.x(bar.ratio.median)
    low, high = axis.x(bar.ratio.low), axis.x(bar.ratio.high)
    middle = y + _BAR / 2
    beside = f"{bar.ratio.median:.2f}\N{MULTIPLICATION SIGN} \N{EN DASH} {bar.label}"
    return [
        (
            f'<rect x="{min(one, end):.1f}" y="{y}" width="{max(abs(end - one), 1):.1f}" '
            f'height="{_BAR}" fill="{colour}"/>'
        ),
        (
            f'<path d="M{low:.1f} {middle}H{high:.1f}M{low:.1f} {middle - 4}v8M{high:.1f} '
            f'{middle - 4}v8" stroke="#222222" stroke-opacity="0.6" fill="none"/>'
        ),
        label(max(high, one) + 8, y + _BAR - 3, beside),
    ]


def _grid(axis: _Axis, low: float, high: float, bottom: float) -> list[str]:
    parts = []
    steps = [m * 10.0**e for e in range(-3, 4) for m in (1, 2, 5)]
    for step in (s for s in steps if low <= s <= high):
        x, main = axis.x(step), step == 1
        parts.append(
            f'<path d="M{x:.1f} {_TOP - 8}V{bottom}" stroke="{"#222222" if main else "#dddddd"}"/>'
        )
        parts.append(label(x, bottom + 16, f"{step:g}\N{MULTIPLICATION SIGN}", anchor="middle"))
    return parts


def _legend(colours: dict[str, str]) -> list[str]:
    parts, x = [], float(_LEFT)
    for side, colour in colours.items():
        parts.append(f'<rect x="{x}" y="38" width="12" height="12" fill="{colour}"/>')
        parts.append(label(x + 18, 49, side))
        x += 40 + 7 * len(side)
    return parts


def colours_of(sides: Sequence[str]) -> dict[str, str]:
    """A colour for each side."""
    names = list(dict.fromkeys(sides))
    return {name: _COLOURS[place % len(_COLOURS)] for place, name in enumerate(names)}


def label(x: float, y: float, text: str, *, anchor: str = "start", size: int = 12) -> str:
    """A text element."""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" '
        f'fill="#222222">{escape(text)}</text>'
    )
