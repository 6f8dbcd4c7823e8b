"""What Prometheus is told: names, labels, and the counting of it.

Counting happens for every request, so it is a few additions to a cell that stands for one set of
label values; families are built from the cells when somebody asks. Labels come from closed lists:
never a repository, a tag, a digest, or anything else that a client chooses.
"""

import os
import platform
import resource
import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from registry.http.backups import BackupMetrics
from registry.http.cells import BOUNDS, Cell
from registry.http.collection import CollectionMetrics
from registry.http.coordination import CoordinationMetrics
from registry.http.deliveries import DeliveryMetrics
from registry.http.observe import RequestRecord
from registry.http.quotas import QuotaMetrics
from registry.http.s3 import S3Metrics
from registry.http.scrubs import ScrubMetrics
from registry.http.tracing import TraceMetrics

_METHODS: Final = frozenset({"GET", "HEAD", "PUT", "POST", "PATCH", "DELETE", "OPTIONS"})
_FAILURES: Final = (500, 503)
_FAILED: Final = ("unavailable", "failed")
_UPLOADS: Final = {
    ("upload.start", 202): ("started",),
    ("upload.start", 201): ("started", "finished"),
    ("upload.finish", 201): ("finished",),
    ("upload.cancel", 204): ("cancelled",),
}


class Metrics:
    """Counts what one process does, and gives it to ``prometheus_client`` as a collector."""

    def __init__(self, *, version: str, worker: int = 0) -> None:
        """Count for worker number ``worker``; nothing is counted yet."""
        self._version = version
        self._worker = str(worker)
        self._started = 0
        self._finished = 0
        self._requests: dict[tuple[str, str, int], Cell] = {}
        self._storage: dict[tuple[str, str, str], Cell] = {}
        self.s3 = S3Metrics()
        self.coordination = CoordinationMetrics()
        self.collection = CollectionMetrics()
        self.deliveries = DeliveryMetrics()
        self.scrub = ScrubMetrics()
        self.backups = BackupMetrics()
        self.quota = QuotaMetrics()
        self.traces = TraceMetrics()
        self._closed: dict[str, int] = dict.fromkeys(("limit", "head_timeout", "malformed"), 0)
        self._reloads: dict[str, int] = dict.fromkeys(("ok", "error"), 0)
        self._caches: dict[str, Callable[[], tuple[int, int]]] = {}
        self._pools: dict[str, tuple[int, Callable[[], int]]] = {}
        self._dropped: dict[str, Callable[[], int]] = {}
        self._refused: Callable[[], Mapping[str, int]] = dict
        self._connections: Callable[[], int] = int
        self._audit: Callable[[], tuple[int, int, int, int]] = lambda: (0, 0, 0, 0)
        self._began = time.time()

    def started(self) -> None:
        """A request came in."""
        self._started += 1

    def finished(self, record: RequestRecord) -> None:
        """Count a request that was answered or given up."""
        self._finished += 1
        cell = self._requests.get((record.action, record.method, record.status))
        if cell is None:
            cell = self._request_cell(record)
        seconds = record.seconds
        cell.count += 1
        cell.seconds += seconds
        cell.received += record.received
        cell.sent += record.sent
        cell.buckets[bisect_left(BOUNDS, seconds)] += 1

    def _request_cell(self, record: RequestRecord) -> Cell:
        # A client can make up methods, and must not make up time series.
        method = record.method if record.method in _METHODS else "other"
        if record.action and method != "other":
            # A rate sees the first failure only where there was a 0 before.
            for status in _FAILURES:
                self._requests.setdefault((record.action, method, status), Cell())
        return self._requests.setdefault((record.action, method, record.status), Cell())

    def storage_operation(self, driver: str, operation: str, outcome: str, seconds: float) -> None:
        """Count one call of a driver; the three texts are from closed lists."""
        cell = self._storage.get((driver, operation, outcome))
        if cell is None:
            cell = self._storage_cell(driver, operation, outcome)
        cell.take(seconds)

    def _storage_cell(self, driver: str, operation: str, outcome: str) -> Cell:
        for each in _FAILED:  # as with requests
            self._storage.setdefault((driver, operation, each), Cell())
        return self._storage.setdefault((driver, operation, outcome), Cell())

    def connection_closed(self, reason: str) -> None:
        """Count a connection that was closed on a client: limit, head_timeout or malformed."""
        self._closed[reason] += 1

    def tls_reloaded(self, outcome: str) -> None:
        """Count a change of the certificate files: ok, or error when the old one stays."""
        self._reloads[outcome] += 1

    def watch_audit(self, counts: Callable[[], tuple[int, int, int, int]]) -> None:
        """Ask for events that were stored and dropped, changes that were refused, and what waits.

        All since the start but the last.
        """
        self._audit = counts

    def watch_connections(self, count: Callable[[], int]) -> None:
        """Ask ``count`` for the number of open connections."""
        self._connections = count

    def watch_cache(self, cache: str, hits_misses: Callable[[], tuple[int, int]]) -> None:
        """Ask for a cache's hits and misses since the start."""
        self._caches[cache] = hits_misses

    def watch_dropped(self, log: str, dropped: Callable[[], int]) -> None:
        """Ask for the lines that a log dropped since the start."""
        self._dropped[log] = dropped

    def watch_refused(self, refused: Callable[[], Mapping[str, int]]) -> None:
        """Ask for the requests that rate limits refused since the start, by limit."""
        self._refused = refused

    def watch_pool(self, pool: str, threads: int, outstanding: Callable[[], int]) -> None:
        """Ask a pool of so many threads for the calls that run or wait in it."""
        self._pools[pool] = threads, outstanding

    def collect(self) -> Iterator[Metric]:
        """Build all families from what was counted."""
        yield from self._collect_requests()
        yield from self._collect_storage()
        yield from self.s3.collect()
        yield from self.coordination.collect()
        yield from self.collection.collect()
        yield from self.deliveries.collect()
        yield from self.scrub.collect()
        yield from self.backups.collect()
        yield from self.quota.collect()
        yield from self.traces.collect()
        yield from self._collect_connections()
        yield from self._collect_caches()
        yield from self._collect_pools()
        yield from self._collect_audit()
        yield from self._collect_process()

    def _collect_requests(self) -> Iterator[Metric]:
        actions: dict[str, Cell] = {}
        uploads = dict.fromkeys(("started", "finished", "cancelled"), 0)
        requests = CounterMetricFamily(
            "moorage_requests", "Requests answered.", labels=["action", "method", "status"]
        )
        for (action, method, status), cell in list(self._requests.items()):
            requests.add_metric([action or "none", method, str(status)], cell.count)
            actions.setdefault(action or "none", Cell()).add(cell)
            for outcome in _UPLOADS.get((action, status), ()):
                uploads[outcome] += cell.count
        yield requests
        duration = HistogramMetricFamily(
            "moorage_request_duration_seconds",
            "Time from a request's head to the end of its answer.",
            labels=["action"],
        )
        received = CounterMetricFamily(
            "moorage_request_received_bytes", "Bytes of requests' bodies.", labels=["action"]
        )
        sent = CounterMetricFamily(
            "moorage_request_sent_bytes", "Bytes of answers' bodies.", labels=["action"]
        )
        for action, cell in actions.items():
            duration.add_metric([action], cell.histogram(), cell.seconds)
            received.add_metric([action], cell.received)
            sent.add_metric([action], cell.sent)
        yield from (duration, received, sent)
        yield GaugeMetricFamily(
            "moorage_requests_in_flight",
            "Requests that are being answered.",
            self._started - self._finished,
        )
        none = dict.fromkeys(("address", "principal", "management", "login"), 0)
        yield _counter(
            "moorage_rate_limited",
            "Requests refused by a rate limit.",
            "limit",
            none | dict(self._refused()),
        )
        yield _counter(
            "moorage_uploads", "Upload sessions by what happened to them.", "event", uploads
        )

    def _collect_storage(self) -> Iterator[Metric]:
        operations = CounterMetricFamily(
            "moorage_storage_operations",
            "Calls of the object store.",
            labels=["driver", "operation", "outcome"],
        )
        duration = HistogramMetricFamily(
            "moorage_storage_operation_duration_seconds",
            "Time that calls of the object store took.",
            labels=["driver", "operation"],
        )
        totals: dict[tuple[str, str], Cell] = {}
        for (driver, operation, outcome), cell in list(self._storage.items()):
            operations.add_metric([driver, operation, outcome], cell.count)
            totals.setdefault((driver, operation), Cell()).add(cell)
        for labels, cell in totals.items():
            duration.add_metric(labels, cell.histogram(), cell.seconds)
        yield from (operations, duration)

    def _collect_connections(self) -> Iterator[Metric]:
        yield GaugeMetricFamily(
            "moorage_connections", "Open connections of clients.", self._connections()
        )
        yield _counter(
            "moorage_connections_closed",
            "Connections closed on a client, by reason.",
            "reason",
            self._closed,
        )
        yield _counter(
            "moorage_tls_reloads", "Changes of the TLS certificate files.", "outcome", self._reloads
        )

    def _collect_caches(self) -> Iterator[Metric]:
        requests = CounterMetricFamily(
            "moorage_cache_requests",
            "Questions that a cache was asked, by whether it knew.",
            labels=["cache", "outcome"],
        )
        for cache, hits_misses in self._caches.items():
            hits, misses = hits_misses()
            requests.add_metric([cache, "hit"], hits)
            requests.add_metric([cache, "miss"], misses)
        yield requests
        yield _counter(
            "moorage_log_dropped_lines",
            "Log lines dropped because they could not be written quickly enough.",
            "log",
            {log: dropped() for log, dropped in self._dropped.items()},
        )

    def _collect_pools(self) -> Iterator[Metric]:
        threads = GaugeMetricFamily(
            "moorage_threads", "Threads that a pool may have.", labels=["pool"]
        )
        busy = GaugeMetricFamily(
            "moorage_threads_busy", "Calls that run or wait in a pool.", labels=["pool"]
        )
        for pool, (count, outstanding) in self._pools.items():
            threads.add_metric([pool], count)
            busy.add_metric([pool], outstanding())
        yield from (threads, busy)

    def _collect_audit(self) -> Iterator[Metric]:
        stored, dropped, refused, waiting = self._audit()
        yield _counter(
            "moorage_audit_events",
            "Events of the audit log.",
            "outcome",
            {"stored": stored, "dropped": dropped},
        )
        yield CounterMetricFamily(
            "moorage_audit_refused_changes",
            "Changes that were refused while no more events could wait.",
            refused,
        )
        yield GaugeMetricFamily(
            "moorage_audit_waiting_events", "Events that the store has yet to take.", waiting
        )

    def _collect_process(self) -> Iterator[Metric]:
        used = resource.getrusage(resource.RUSAGE_SELF)
        values: Iterable[tuple[str, str, float]] = (
            ("resident_memory_bytes", "Memory that a worker occupies.", _resident_bytes()),
            ("open_files", "File descriptors that a worker has open.", _open_files()),
            ("start_time_seconds", "When a worker started, in Unix seconds.", self._began),
        )
        for name, text, value in values:
            gauge = GaugeMetricFamily(f"moorage_process_{name}", text, labels=["worker"])
            gauge.add_metric([self._worker], value)
            yield gauge
        cpu = CounterMetricFamily(
            "moorage_process_cpu_seconds", "Processor time that a worker used.", labels=["worker"]
        )
        cpu.add_metric([self._worker], used.ru_utime + used.ru_stime)
        yield cpu
        build = GaugeMetricFamily(
            "moorage_build_info", "Always 1; the labels tell.", labels=["version", "python"]
        )
        build.add_metric([self._version, platform.python_version()], 1)
        yield build


def _counter(name: str, text: str, label: str, counts: dict[str, int]) -> Metric:
    family = CounterMetricFamily(name, text, labels=[label])
    for value, count in counts.items():
        family.add_metric([value], count)
    return family


def _resident_bytes() -> float:
    try:
        with open("/proc/self/statm", "rb") as stream:  # noqa: PTH123  read at every scrape
            return float(int(stream.read().split()[1]) * resource.getpagesize())
    except OSError:  # pragma: no cover  no Linux
        return float("nan")


def _open_files() -> float:
    try:
        return float(len(os.listdir("/proc/self/fd")) - 1)  # noqa: PTH208  as above
    except OSError:  # pragma: no cover  no Linux
        return float("nan")
