"""What is counted of the scrubber."""

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from registry.service.scrub.scrubber import Damage, Found, Progress


class ScrubMetrics:
    """Counts what one process scrubs; nothing where it does not."""

    def __init__(self) -> None:
        self._damage = dict.fromkeys(Found, 0)
        self._last = Progress()

    def found(self, damage: Damage) -> None:
        """Count one thing that was not right."""
        self._damage[damage.found] += 1

    def ended(self, progress: Progress) -> None:
        """Keep what a scrub came to that has ended."""
        self._last = progress

    def collect(self) -> Iterator[Metric]:
        """Build the families."""
        damage = CounterMetricFamily(
            "moorage_scrub_damaged",
            "Blobs and manifests whose bytes were not what their digest says.",
            labels=["outcome"],
        )
        for outcome, count in self._damage.items():
            damage.add_metric([outcome], count)
        yield damage
        bytes_read = GaugeMetricFamily(
            "moorage_scrub_last_bytes", "Bytes that the last scrub of this process read."
        )
        last = GaugeMetricFamily(
            "moorage_scrub_last_timestamp_seconds",
            "When a scrub of this process last ended, in Unix seconds.",
        )
        if self._last.ended:
            bytes_read.add_metric([], self._last.bytes)
            last.add_metric([], self._last.ended)
        yield from (bytes_read, last)
