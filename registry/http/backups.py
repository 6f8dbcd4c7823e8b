"""What is counted of backups that were asked for over the management API."""

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, Metric

from registry.service.backup.jobs import JobRecord, Kind, State


class BackupMetrics:
    """Counts the work on backups that one process did; nothing where it does none."""

    def __init__(self) -> None:
        self._ended = {(kind, state): 0 for kind in Kind for state in (State.DONE, State.FAILED)}

    def ended(self, record: JobRecord) -> None:
        """Count a piece of work that has ended."""
        self._ended[record.kind, record.state] += 1

    def collect(self) -> Iterator[Metric]:
        """Build the families."""
        ended = CounterMetricFamily(
            "moorage_backup_jobs",
            "Work on backups that was asked for over the API, and has ended.",
            labels=["kind", "outcome"],
        )
        for (kind, state), count in self._ended.items():
            ended.add_metric([kind, state], count)
        yield ended
