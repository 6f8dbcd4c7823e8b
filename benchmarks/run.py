"""Runs the works: all sides in one session, turn and turn about."""

import os
import sys
import time
from collections.abc import Sequence
from typing import TypeVar

from benchmarks import memory
from benchmarks.content import GIBIBYTE, MEBIBYTE, LayerSource
from benchmarks.figures import Results, Sample
from benchmarks.processes import MemoryWatch, Peaks, processor_seconds, wait_until_idle
from benchmarks.sides import Side
from benchmarks.works import Setting, Work

T = TypeVar("T")


def alternate(
    sides: Sequence[Side], works: Sequence[Work], rounds: int, setting: Setting, results: Results
) -> None:
    """Measure each work on each side in each round; who goes first changes with each round.

    A side that fails a work is reported and left out of that round; the others go on.
    """
    for number in range(rounds):
        setting.round = number
        for work in works:
            for side in rotated(sides, number):
                if side.takes_pushes or not work.needs_pushes:
                    _measure(side, work, sides, setting, results)


def rotated(sides: Sequence[T], by: int) -> list[T]:
    """The sides in another order for each round."""
    start = by % len(sides)
    return [*sides[start:], *sides[:start]]


def peaks_so_far(sides: Sequence[Side], results: Results) -> None:
    """The peak resident memory of each side's processes since they started."""
    for side in sides:
        if side.root is not None:
            with MemoryWatch(side.root, reset=False) as watch:
                pass
            _keep_peaks("memory", side, watch.peaks, results)


def memory_under_load(
    sides: Sequence[Side], setting: Setting, source: LayerSource, results: Results
) -> None:
    """The peaks under eight pushes and eight pulls at a time, one side after another."""
    for side in sides:
        if side.root is None or not side.takes_pushes:
            continue
        name = memory_name(source.size)
        tell(f"{name}: {side.name} …")
        settle([s for s in sides if s is not side])
        try:
            peaks = memory.under_load(setting, side, source)
        except Exception as error:  # noqa: BLE001  reported, and the run fails at its end
            fail(results, f"{name} on {side.name}: {error}")
            continue
        _keep_peaks(name, side, peaks, results)


def memory_name(size: int) -> str:
    """The work's name for layers of that size."""
    whole = size // GIBIBYTE
    return f"memory-{whole}g" if whole else f"memory-{size // MEBIBYTE}m"


def settle(others: Sequence[Side]) -> bool:
    """Write back what is dirty and wait until the other sides rest; whether they do."""
    os.sync()
    return wait_until_idle([side.root for side in others if side.root is not None])


def tell(text: str) -> None:
    """A line of progress."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def fail(results: Results, text: str) -> None:
    """Keep a failure for the report and say it now."""
    results.failures.append(text)
    tell(f"FAILED: {text}")


def _measure(
    side: Side, work: Work, sides: Sequence[Side], setting: Setting, results: Results
) -> None:
    idle = settle([s for s in sides if s is not side])
    before = processor_seconds(side.root) if side.root is not None else None
    try:
        value = work.measure(setting, side)
    except Exception as error:  # noqa: BLE001  reported, and the run fails at its end
        fail(results, f"{work.name} on {side.name}, round {setting.round + 1}: {error}")
        return
    used = None if before is None or side.root is None else processor_seconds(side.root) - before
    results.samples.append(Sample(work.name, side.name, setting.round, value, used, not idle))
    tell(f"round {setting.round + 1}, {work.title}: {side.name} {value:,.2f} {work.unit}")


def _keep_peaks(name: str, side: Side, peaks: Peaks, results: Results) -> None:
    for part, value in (("largest", peaks.largest), ("sum", peaks.sum)):
        results.samples.append(Sample(f"{name}-{part}", side.name, 0, value / 1e6))
    tell(
        f"{name}: {side.name} {peaks.largest / 1e6:.0f} MB the largest process, "
        f"{peaks.sum / 1e6:.0f} MB in {len(peaks.by_process)}"
    )
