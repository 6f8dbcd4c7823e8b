"""What is counted of webhooks."""

from collections.abc import Iterator

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from registry.http.cells import Cell
from registry.service.webhooks.deliverer import Outcome


class DeliveryMetrics:
    """Counts what one process sends; nothing where it does not."""

    def __init__(self) -> None:
        self._sent = dict.fromkeys(("delivered", "failed"), 0)
        self._dead = 0
        self._resting = 0
        self._waiting = 0
        self._lag = 0.0
        self._seconds = Cell()

    def sent(self, outcome: Outcome) -> None:
        """An event was sent."""
        self._sent["failed" if outcome.error else "delivered"] += 1
        self._seconds.take(outcome.seconds)

    def gave_up(self, events: int) -> None:
        """So many events became dead letters."""
        self._dead += events

    def resting(self, webhooks: int) -> None:
        """So many webhooks are left alone for a while."""
        self._resting = webhooks

    def waiting(self, webhooks: int, seconds: float) -> None:
        """For so many webhooks something waits, and the first of it has been due for so long."""
        self._waiting, self._lag = webhooks, seconds

    def collect(self) -> Iterator[Metric]:
        """Build the families."""
        sent = CounterMetricFamily(
            "moorage_webhook_attempts", "Events sent to webhooks.", labels=["outcome"]
        )
        for outcome, count in self._sent.items():
            sent.add_metric([outcome], count)
        yield sent
        duration = HistogramMetricFamily(
            "moorage_webhook_attempt_duration_seconds", "Time that receivers took to answer."
        )
        duration.add_metric([], self._seconds.histogram(), self._seconds.seconds)
        yield duration
        yield CounterMetricFamily(
            "moorage_webhook_dead_events", "Events that became dead letters.", self._dead
        )
        yield GaugeMetricFamily(
            "moorage_webhooks_resting", "Webhooks left alone since they take nothing.",
            self._resting,
        )  # fmt: skip
        yield GaugeMetricFamily(
            "moorage_webhooks_waiting", "Webhooks for which events wait.", self._waiting
        )
        yield GaugeMetricFamily(
            "moorage_webhook_lag_seconds",
            "How long the event that waits for longest has been due.",
            self._lag,
        )
