"""What is counted of S3: requests, what they took, and how busy the driver is."""

from collections.abc import Callable, Iterator, Mapping
from typing import Final, Protocol

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from registry.http.cells import Cell

_GAUGES: Final = (
    ("requests_in_flight", "in_flight", "Requests to S3 under way."),
    ("connections_limit", "connections", "Connections to S3 that may be open."),
    ("buffered_bytes", "buffered", "Bytes of parts held in common memory."),
    ("buffer_limit_bytes", "buffer", "Bytes of parts that may be held there."),
    ("buffer_waiting", "waiting", "Uploads that wait for that memory."),
)


class Load(Protocol):
    """How busy a driver is at this moment."""

    @property
    def in_flight(self) -> int:
        """Requests that have a connection, or wait for one."""
        ...

    @property
    def connections(self) -> int:
        """Connections that there may be."""
        ...

    @property
    def buffered(self) -> int:
        """Bytes of uploads' parts that are held beyond what each upload has for itself."""
        ...

    @property
    def buffer(self) -> int:
        """Bytes of them that may be held."""
        ...

    @property
    def waiting(self) -> int:
        """Uploads that wait for such bytes."""
        ...


class S3Metrics:
    """Counts what one process asks of S3; nothing where it does not."""

    def __init__(self) -> None:
        self._requests: dict[tuple[str, str], Cell] = {}
        self._honours: dict[str, bool] = {}
        self._load: Callable[[], Load | None] = lambda: None

    def request(self, operation: str, outcome: str, seconds: float) -> None:
        """Count one request to S3, repetitions too; the two texts are from closed lists."""
        cell = self._requests.setdefault((operation, outcome), Cell())
        cell.take(seconds)

    def honours(self, honours: Mapping[str, object]) -> None:
        """Take note of what the store was seen to honour: name and whether."""
        self._honours = {name: bool(value) for name, value in honours.items()}

    def watch(self, load: Load) -> None:
        """Ask ``load`` how busy it is."""
        self._load = lambda: load

    def collect(self) -> Iterator[Metric]:
        """Build the families."""
        requests = CounterMetricFamily(
            "moorage_s3_requests", "Requests to S3.", labels=["operation", "outcome"]
        )
        duration = HistogramMetricFamily(
            "moorage_s3_request_duration_seconds",
            "Time from a request to S3 to the head of its answer.",
            labels=["operation"],
        )
        totals: dict[str, Cell] = {}
        for (operation, outcome), cell in list(self._requests.items()):
            requests.add_metric([operation, outcome], cell.count)
            totals.setdefault(operation, Cell()).add(cell)
        for operation, cell in totals.items():
            duration.add_metric([operation], cell.histogram(), cell.seconds)
        honours = GaugeMetricFamily(
            "moorage_s3_honours", "Whether the store honours it.", labels=["ability"]
        )
        for name, value in self._honours.items():
            honours.add_metric([name], float(value))
        yield from (requests, duration, honours)
        load = self._load()
        for name, attribute, text in _GAUGES:
            gauge = GaugeMetricFamily(f"moorage_s3_{name}", text)
            if load is not None:
                gauge.add_metric([], float(getattr(load, attribute)))
            yield gauge
