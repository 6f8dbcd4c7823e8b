"""What is counted of the coordination between replicas."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Protocol

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from registry.http.cells import Cell

_COUNTERS: Final = {
    "disconnects": "Times that the connection to Redis ended, or could not be had.",
    "terms": "Times that another Redis came to count.",
    "epochs": "Times that Redis had lost what it knew, so that what was remembered was forgotten.",
    "locks_lost": "Locks that could not be kept while something was changed under them.",
}


class Coordination(Protocol):
    """How it stands at this moment."""

    @property
    def connected(self) -> bool:
        """Whether there is a connection to Redis."""
        ...

    @property
    def alone(self) -> bool:
        """Whether things are changed without Redis."""
        ...

    @property
    def trusted(self) -> bool:
        """Whether what is remembered may be used."""
        ...

    @property
    def waiting(self) -> int:
        """How many commands wait for Redis."""
        ...

    @property
    def asked(self) -> int:
        """How many stamps were asked for since the start."""
        ...


@dataclass(frozen=True, slots=True)
class _Gauge:
    name: str
    text: str


_GAUGES: Final = (
    _Gauge("connected", "Workers that are connected to Redis."),
    _Gauge("trusted", "Workers that may answer from memory what has not changed."),
    _Gauge("waiting", "Commands that wait for the round trip to Redis that is under way."),
    _Gauge("alone", "Workers that change things without Redis, since they can't reach it."),
)


class CoordinationMetrics:
    """Counts what one process coordinates through Redis; nothing where it does not."""

    def __init__(self) -> None:
        self._watched: Coordination | None = None
        self._counts = dict.fromkeys(_COUNTERS, 0)
        self._round_trips = Cell()

    def watch(self, coordination: Coordination) -> None:
        """Ask ``coordination`` how it stands."""
        self._watched = coordination

    def count(self, what: str) -> None:
        """Count one of ``disconnects``, ``terms``, ``epochs`` and ``locks_lost``."""
        self._counts[what] += 1

    def round_trip(self, seconds: float) -> None:
        """Count a batch that Redis has answered."""
        self._round_trips.take(seconds)

    def collect(self) -> Iterator[Metric]:
        """Build the families."""
        watched = self._watched
        for gauge in _GAUGES:
            family = GaugeMetricFamily(f"moorage_coordination_{gauge.name}", gauge.text)
            if watched is not None:
                family.add_metric([], float(getattr(watched, gauge.name)))
            yield family
        for name, text in _COUNTERS.items():
            counter = CounterMetricFamily(f"moorage_coordination_{name}", text)
            if watched is not None:
                counter.add_metric([], self._counts[name])
            yield counter
        stamps = CounterMetricFamily(
            "moorage_coordination_stamps", "Stamps that Redis was asked for."
        )
        trips = HistogramMetricFamily(
            "moorage_coordination_round_trip_seconds",
            "Time from a batch to Redis to its answer.",
        )
        if watched is not None:
            stamps.add_metric([], watched.asked)
            trips.add_metric([], self._round_trips.histogram(), self._round_trips.seconds)
        yield from (stamps, trips)
