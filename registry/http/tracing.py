"""What is counted of traces."""

from collections.abc import Iterator
from dataclasses import dataclass

from prometheus_client.core import CounterMetricFamily, Metric


@dataclass(slots=True)
class TraceMetrics:
    """Counts spans; whoever makes and sends them adds to it."""

    ended: int = 0
    exported: int = 0
    failed: int = 0

    def collect(self) -> Iterator[Metric]:
        """Build the families."""
        spans = CounterMetricFamily(
            "moorage_trace_spans",
            "Spans by what became of them.",
            labels=["outcome"],
        )
        for outcome in ("ended", "exported", "failed"):
            spans.add_metric([outcome], getattr(self, outcome))
        yield spans
