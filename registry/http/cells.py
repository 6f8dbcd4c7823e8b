"""A count, and how long what it counts took: what counters and histograms are built from."""

from bisect import bisect_left
from typing import Final

BOUNDS: Final = (
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    10.0,
    60.0,
)
"""Upper bounds of the latency buckets, in seconds."""


class Cell:
    """The count, seconds and bytes of one set of label values."""

    __slots__ = ("buckets", "count", "received", "seconds", "sent")

    def __init__(self) -> None:
        self.count = 0
        self.seconds = 0.0
        self.received = 0
        self.sent = 0
        self.buckets = [0] * (len(BOUNDS) + 1)

    def take(self, seconds: float) -> None:
        """Count one thing that took so long."""
        self.count += 1
        self.seconds += seconds
        self.buckets[bisect_left(BOUNDS, seconds)] += 1

    def add(self, other: "Cell") -> None:
        """Add up both."""
        self.count += other.count
        self.seconds += other.seconds
        self.received += other.received
        self.sent += other.sent
        self.buckets = [one + two for one, two in zip(self.buckets, other.buckets, strict=True)]

    def histogram(self) -> list[tuple[str, float]]:
        """Return the buckets as Prometheus counts them: each with all that are below it."""
        total, pairs = 0, []
        for bound, count in zip((*map(str, BOUNDS), "+Inf"), self.buckets, strict=True):
            total += count
            pairs.append((bound, float(total)))
        return pairs
