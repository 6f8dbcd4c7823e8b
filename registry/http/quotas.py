"""What is counted of quotas."""

from collections.abc import Callable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from registry.service.quotas.quotas import Quotas


class QuotaMetrics:
    """Shows what the quotas of one process have counted."""

    def __init__(self) -> None:
        self._quotas: Callable[[], Quotas | None] = lambda: None

    def watch(self, quotas: Quotas) -> None:
        """Show these."""
        self._quotas = lambda: quotas

    def collect(self) -> Iterator[Metric]:
        """Build the families."""
        quotas = self._quotas()
        refused = CounterMetricFamily(
            "moorage_quota_refusals",
            "Requests that did not fit into their project's quota.",
            labels=["quota"],
        )
        changes = CounterMetricFamily(
            "moorage_quota_account_changes",
            "Changes of projects' accounts, by what came of them.",
            labels=["outcome"],
        )
        counts = CounterMetricFamily(
            "moorage_quota_counts", "Counts of what projects hold.", labels=["outcome"]
        )
        for kind in ("bytes", "repositories", "tags"):
            refused.add_metric([kind], quotas.refused[kind] if quotas else 0)
        for outcome in ("ok", "lost", "failed"):
            changes.add_metric([outcome], quotas.swaps[outcome] if quotas else 0)
        for outcome in ("ok", "again", "failed"):
            counts.add_metric([outcome], quotas.counting.counts[outcome] if quotas else 0)
        yield from (refused, changes, counts)
        fill = GaugeMetricFamily(
            "moorage_quota_projects",
            "Projects with limits, by the percent of one that is used.",
            labels=["used"],
        )
        for used, number in (quotas.counting.fill if quotas else {}).items():
            fill.add_metric([used], number)
        yield fill
        yield CounterMetricFamily(
            "moorage_quota_drift_bytes",
            "Bytes by which counts found accounts wrong, whichever way.",
            quotas.counting.drift if quotas else 0,
        )
