"""Tables of the experiment: response times by concurrency, and what does not hold."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from benchmarks.thesis.load import Phase, Sample

_PHASES: tuple[Phase, ...] = ("push", "pull")
_TIMES = "\N{MULTIPLICATION SIGN}"


@dataclass(frozen=True, slots=True)
class Spread:
    """Response times of one side at one level, in milliseconds."""

    median: float
    p90: float
    p99: float
    most: float
    failed: int

    @classmethod
    def of(cls, samples: Sequence[Sample]) -> "Spread":
        """Percentiles by nearest rank, of what did not fail."""
        times = sorted(s.seconds * 1e3 for s in samples if s.failure is None) or [float("nan")]
        at = [times[max(0, -(-len(times) * share // 100) - 1)] for share in (50, 90, 99, 100)]
        return cls(*at, failed=sum(s.failure is not None for s in samples))


@dataclass(frozen=True, slots=True)
class Report:
    """A finished experiment on one kind of store; the last side is what the others are held to."""

    sides: Sequence[str]
    levels: Sequence[int]
    samples: Sequence[Sample]
    facts: dict[str, str]

    def select(self, phase: Phase, side: str, level: int) -> list[Sample]:
        """The samples of one cell, by iteration."""
        found = [s for s in self.samples if (s.phase, s.side, s.level) == (phase, side, level)]
        return sorted(found, key=lambda s: s.iteration)

    def markdown(self) -> str:
        """A table for pushes and one for pulls, what does not hold, and the facts."""
        parts = [part for phase in _PHASES for part in self._table(phase)]
        parts += [*self._verdict(), "", *(f"- {name}: {text}" for name, text in self.facts.items())]
        return "\n".join(parts) + "\n"

    def json(self) -> str:
        """Every sample."""
        data = {"facts": self.facts, "samples": [asdict(s) for s in self.samples]}
        return json.dumps(data, indent=0) + "\n"

    def misses(self) -> list[str]:
        """Where a push or pull failed on the first side, or it was not faster than the last."""
        found = []
        first, last = self.sides[0], self.sides[-1]
        for phase in _PHASES:
            for level in self.levels:
                ours, theirs = (Spread.of(self.select(phase, s, level)) for s in (first, last))
                where = f"{phase}, {level} at a time"
                if ours.failed:
                    found.append(f"{where}: {ours.failed} failed on {first}")
                for name in ("median", "p99"):
                    mine, other = getattr(ours, name), getattr(theirs, name)
                    if first != last and not mine < other:
                        found.append(f"{where}: {name} {_ms(mine)} ms, {last} {_ms(other)} ms")
        return found

    def _table(self, phase: Phase) -> list[str]:
        reference = self.sides[-1]
        head = [f"{phase}, at a time", "side", "median", "p90", "p99", "max", "failed"]
        lines = [_line([*head, f"median {_TIMES}", f"p99 {_TIMES}"])]
        lines.append(_line(["--:", "---", *["--:"] * 7]))
        for level in self.levels:
            theirs = Spread.of(self.select(phase, reference, level))
            for side in self.sides:
                ours = Spread.of(self.select(phase, side, level))
                times = [_ms(value) for value in (ours.median, ours.p90, ours.p99, ours.most)]
                ratios = ["", ""]
                if side != reference:
                    pairs = ((theirs.median, ours.median), (theirs.p99, ours.p99))
                    ratios = [f"**{one / two:.2f}{_TIMES}**" for one, two in pairs]
                lines.append(_line([str(level), side, *times, str(ours.failed), *ratios]))
        return [*lines, ""]

    def _verdict(self) -> list[str]:
        misses = self.misses()
        if not misses:
            return [
                "No push and no pull failed; median and p99 are below the other's at each level."
            ]
        return ["**Not held:**", "", *(f"- {text}" for text in misses)]


def _ms(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
