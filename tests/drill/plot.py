"""Requests, errors and latency by the second as SVG, with what was done marked."""

import math
from collections.abc import Sequence

from benchmarks.chart import label
from tests.drill.record import Request, Step

_LEFT, _TOP, _WIDTH, _PANE, _GAP = 56, 60, 980, 150, 44
_SERVED, _FAILED, _LATENCY = "#1f6f8b", "#b0474f", "#7a9e3f"


def draw(title: str, requests: Sequence[Request], steps: Sequence[Step], began: float) -> str:
    """An SVG document: requests and errors above, the longest and the median latency below."""
    last = max((ended for _, ended, _ in requests), default=began) - began
    span = max(last, 1.0)
    rows = -(-len(steps) // 2)
    height = _TOP + 2 * (_PANE + _GAP) + 18 * rows + 20
    width = _LEFT + _WIDTH + 24
    buckets: list[list[Request]] = [[] for _ in range(int(span) + 1)]
    for each in requests:
        if each[1] >= began:
            buckets[int(each[1] - began)].append(each)

    def x(seconds: float) -> float:
        return _LEFT + seconds / span * _WIDTH

    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
            'font-family="system-ui, sans-serif" font-size="12">'
        ),
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        label(_LEFT, 24, title, size=16),
    ]
    upper, lower = _TOP + _PANE, _TOP + 2 * _PANE + _GAP
    parts += _events(steps, x, upper, lower)
    parts += _rates(buckets, x, upper, _WIDTH / span)
    parts += _latencies(buckets, x, lower)
    for second in range(0, int(span) + 1, 60):
        parts.append(label(x(second), lower + 16, f"{second // 60} min", anchor="middle"))
    for number, step in enumerate(steps):
        column, row = divmod(number, rows)
        text = f"{number + 1}  {step.name}"
        parts.append(label(_LEFT + column * _WIDTH / 2, lower + 42 + 18 * row, text))
    return "\n".join([*parts, "</svg>", ""])


def _events(steps: Sequence[Step], x, upper: float, lower: float) -> list[str]:
    parts = []
    for number, step in enumerate(steps, 1):
        at, until = x(step.at), x(step.at + step.whole_after)
        for bottom in (upper, lower):
            parts.append(
                f'<rect x="{at:.1f}" y="{bottom - _PANE}" width="{max(until - at, 1):.1f}" '
                f'height="{_PANE}" fill="#f3ead9"/>'
            )
            parts.append(f'<path d="M{at:.1f} {bottom - _PANE}v{_PANE}" stroke="#e08e45"/>')
        parts.append(label(at + 2, upper - _PANE - 4, str(number), size=11))
    return parts


def _rates(buckets: Sequence[Sequence[Request]], x, bottom: float, wide: float) -> list[str]:
    top = max((len(each) for each in buckets), default=1) or 1
    served, failed = [], []
    for second, each in enumerate(buckets):
        good = sum(ok for *_, ok in each)
        bad = len(each) - good
        at, high = x(second), good / top * _PANE
        served.append(f"M{at:.1f} {bottom}v{-high:.1f}h{wide:.2f}V{bottom}z")
        if bad:
            failed.append(
                f"M{at:.1f} {bottom - high:.1f}v{-bad / top * _PANE:.1f}h{wide:.2f}"
                f"V{bottom - high:.1f}z"
            )
    return [
        f'<path d="{"".join(served)}" fill="{_SERVED}" fill-opacity="0.75"/>',
        f'<path d="{"".join(failed)}" fill="{_FAILED}"/>',
        *_axis(bottom, [(share, f"{share * top:.0f}") for share in (0.5, 1.0)]),
        label(_LEFT, bottom + 16, "requests in a second: served (blue), failed (red)"),
    ]


def _latencies(buckets: Sequence[Sequence[Request]], x, bottom: float) -> list[str]:
    low, high = math.log(0.003), math.log(60)

    def y(seconds: float) -> float:
        share = (math.log(min(max(seconds, 0.003), 60)) - low) / (high - low)
        return bottom - share * _PANE

    middle, most = [], []
    for second, each in enumerate(buckets):
        times = sorted(ended - began for began, ended, _ in each)
        if times:
            at = x(second + 0.5)
            middle.append(f"{at:.1f} {y(times[len(times) // 2]):.1f}")
            most.append(f"M{at:.1f} {y(times[len(times) // 2]):.1f}V{y(times[-1]):.1f}")
    marks = [
        ((math.log(each) - low) / (high - low), f"{each:g} s") for each in (0.01, 0.1, 1, 10, 60)
    ]
    return [
        f'<path d="{"".join(most)}" stroke="{_LATENCY}" stroke-opacity="0.45"/>',
        f'<path d="M{"L".join(middle)}" stroke="{_LATENCY}" fill="none" stroke-width="1.2"/>',
        *_axis(bottom, marks),
        label(_LEFT, bottom - _PANE - 6, "time to the answer: median (line) to longest (bars)"),
    ]


def _axis(bottom: float, marks: Sequence[tuple[float, str]]) -> list[str]:
    parts = [
        (
            f'<path d="M{_LEFT} {bottom - _PANE}V{bottom}H{_LEFT + _WIDTH}" stroke="#222222" '
            'fill="none"/>'
        )
    ]
    for share, text in marks:
        at = bottom - share * _PANE
        parts.append(
            f'<path d="M{_LEFT} {at:.1f}h{_WIDTH}" stroke="#222222" stroke-opacity="0.12"/>'
        )
        parts.append(label(_LEFT - 4, at + 4, text, anchor="end", size=11))
    return parts
