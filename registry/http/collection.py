"""What is counted of the collector."""

from collections.abc import Iterator
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from registry.service.collection.findings import Done, Finding, Kind

_PASSES: Final = ("ok", "busy", "waiting", "error")


class CollectionMetrics:
    """Counts what one process collects; nothing where it does not."""

    def __init__(self) -> None:
        self._found: dict[tuple[Kind, Done], int] = {}
        self._freed = 0
        self._passes = dict.fromkeys(_PASSES, 0)
        self._failed = 0
        self._last = 0.0
        self._seen = 0
        self._lag = 0.0
        self._expired = {"tag": 0, "manifest": 0}
        self._retained = {"ok": 0, "busy": 0, "error": 0}

    def expired(self, kind: str, count: int) -> None:
        """Count tags or manifests that retention has deleted."""
        self._expired[kind] += count

    def retained(self, outcome: str) -> None:
        """Count a run of retention: ok, busy or error."""
        self._retained[outcome] += 1

    def found(self, finding: Finding) -> None:
        """Count one finding."""
        which = finding.kind, finding.done
        self._found[which] = self._found.get(which, 0) + 1
        if finding.done is Done.REMOVED:
            self._freed += finding.size

    def passed(self, outcome: str, failed: int = 0, at: float = 0.0) -> None:
        """Count a pass that ended at ``at`` (Unix seconds): ok, busy, waiting or error."""
        self._passes[outcome] += 1
        self._failed += failed
        self._last = at or self._last

    def looked(self, seen: int, lag: float) -> None:
        """A pass saw to so many candidates, the first of which had been due for so long."""
        self._seen += seen
        self._lag = lag

    def collect(self) -> Iterator[Metric]:
        """Build the families."""
        findings = CounterMetricFamily(
            "moorage_collection_findings",
            "Things that the collector found unneeded, or needed again.",
            labels=["kind", "done"],
        )
        for (kind, done), count in self._found.items():
            findings.add_metric([kind, done], count)
        passes = CounterMetricFamily(
            "moorage_collection_passes", "Looks at what is due.", labels=["outcome"]
        )
        for outcome, count in self._passes.items():
            passes.add_metric([outcome], count)
        yield from (findings, passes)
        yield CounterMetricFamily(
            "moorage_collection_freed_bytes", "Bytes of blobs that were removed.", self._freed
        )
        yield CounterMetricFamily(
            "moorage_collection_failed_candidates",
            "Candidates that could not be seen to, and will be.",
            self._failed,
        )
        yield CounterMetricFamily(
            "moorage_collection_candidates", "Candidates that were seen to.", self._seen
        )
        yield GaugeMetricFamily(
            "moorage_collection_lag_seconds",
            "How long the first candidate had been due when a pass began.",
            self._lag,
        )
        expired = CounterMetricFamily(
            "moorage_retention_expired", "What retention has deleted.", labels=["kind"]
        )
        for name, number in self._expired.items():
            expired.add_metric([name], number)
        retained = CounterMetricFamily(
            "moorage_retention_runs", "Runs of retention.", labels=["outcome"]
        )
        for name, number in self._retained.items():
            retained.add_metric([name], number)
        yield from (expired, retained)
        last = GaugeMetricFamily(
            "moorage_collection_last_pass_timestamp_seconds",
            "When a pass last ended well, in Unix seconds.",
        )
        if self._last:
            last.add_metric([], self._last)
        yield last
