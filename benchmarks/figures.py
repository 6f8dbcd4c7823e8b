"""Medians, ranges, and ratios pair by pair."""

import statistics
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field


@dataclass(frozen=True, slots=True)
class Sample:
    """One figure: a piece of work, on one side, in one round."""

    work: str
    side: str
    round: int
    value: float
    server_seconds: float | None = None  # processor time of the side's processes meanwhile
    others_busy: bool = False  # another side still worked when this one was measured


@dataclass(frozen=True, slots=True)
class Range:
    """A median with its extremes."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> "Range":
        numbers = sorted(values)
        return cls(statistics.median(numbers), numbers[0], numbers[-1])


@dataclass(slots=True)
class Results:
    """All samples of a run, and what failed."""

    samples: list[Sample] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def figure(self, work: str, side: str) -> Range | None:
        """The side's figure for the work; None when it was not measured."""
        values = [s.value for s in self.samples if (s.work, s.side) == (work, side)]
        return Range.of(values) if values else None

    def ratio(self, work: str, side: str, reference: str, *, less_is_better: bool) -> Range | None:
        """How many times better the side is, from the rounds that both sides did.

        The median of the rounds' ratios, not the ratio of medians: both sides of a round ran
        within seconds of each other, so what else the machine did meets both.
        """
        ours, theirs = self._by_round(work, side), self._by_round(work, reference)
        both = ours.keys() & theirs.keys()
        if not both or side == reference:
            return None
        if less_is_better:
            ours, theirs = theirs, ours
        return Range.of(ours[r] / theirs[r] for r in both)

    def as_data(self) -> dict[str, object]:
        """The raw figures for JSON."""
        return {"samples": [asdict(s) for s in self.samples], "failures": self.failures}

    def _by_round(self, work: str, side: str) -> dict[int, float]:
        return {s.round: s.value for s in self.samples if (s.work, s.side) == (work, side)}
