"""The composition root's part for collection: its terms, and the collector beside the server."""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator

from registry.backend import Backend
from registry.background import around, beside, repeated
from registry.config import Config
from registry.http.collection import CollectionMetrics
from registry.service.audit.events import COLLECTOR, AuditEvent, Happening
from registry.service.audit.journal import Journal
from registry.service.collection.collector import Collector
from registry.service.collection.findings import Done, Finding, Kind, Report, nobody
from registry.service.collection.mark import Marker
from registry.service.failures import FAILURES
from registry.service.history import HistoryTerms
from registry.service.services import Services
from registry.service.terms import Terms
from storage.coordination import LeaseHeld

_log = logging.getLogger("moorage.collection")

_FLUSH = 20.0
_FIRST = 10.0


def terms_of(config: Config) -> Terms:
    """Return how long what nothing needs stays."""
    return Terms(config.collection.grace_seconds, config.collection.undelete_seconds)


def history_of(config: Config) -> HistoryTerms:
    """Return how much is kept of what tags were."""
    return HistoryTerms(config.tags.history, config.tags.history_days * 86_400)


def collector(config: Config, backend: Backend, services: Services, report: Report) -> Collector:
    """Make a collector."""
    return Collector(
        backend.store,
        backend.coordinator,
        services.candidates,
        services.terms,
        exact=backend.exact,
        per_second=config.collection.per_second,
        concurrency=config.collection.concurrency,
        report=report,
        quotas=services.quotas,
    )


def marker(backend: Backend, services: Services, report: Report) -> Marker:
    """Make what makes full marks."""
    return Marker(
        backend.store,
        backend.coordinator,
        services.candidates,
        services.terms,
        services.tags.histories,
        exact=backend.exact,
        report=report,
    )


def reporting(journal: Journal | None, report: Report) -> Report:
    """Tell the audit log too what was removed, in the project that it was removed from.

    Entries that lead to nothing are left out: they are the registry's own book-keeping.
    """
    if journal is None:
        return report

    def both(finding: Finding) -> None:
        report(finding)
        if finding.done is Done.REMOVED and finding.kind is not Kind.ENTRY:
            journal.record(
                AuditEvent.of(
                    time.time(),
                    Happening.CONTENT_COLLECTED,
                    COLLECTOR,
                    tenant=finding.place.tenant,
                    repository=finding.place.partition("/")[2],
                    subject=finding.name,
                    kind=finding.kind,
                    reason=finding.reason,
                    bytes=finding.size or None,
                )
            )

    return both


@contextlib.asynccontextmanager
async def collecting(
    config: Config,
    backend: Backend,
    services: Services,
    metrics: CollectionMetrics,
    journal: Journal | None,
    *,
    first: bool,
) -> AsyncIterator[None]:
    """Write candidates down while this is entered; in the ``first`` worker, collect too."""
    await marker(backend, services, nobody).take_over()
    candidates = services.candidates
    pause = min(_FLUSH, services.terms.grace / 4)
    work = [
        repeated(
            "candidates.flush", candidates.flush, pause, _log, "candidates were not written down"
        )
    ]
    if first:

        def report(finding: Finding) -> None:
            metrics.found(finding)
            _log.info(
                "%s %s %s%s: %s",
                finding.done,
                finding.kind,
                finding.name,
                f" of {finding.place}" if finding.place else "",
                finding.reason,
            )

        told = reporting(journal, report)
        work.append(_collect(config, backend, services, metrics, told))
    try:
        async with beside(*work):
            yield
    finally:
        with contextlib.suppress(*FAILURES, TimeoutError):
            async with asyncio.timeout(5):
                await candidates.flush(everything=True)


async def _collect(
    config: Config,
    backend: Backend,
    services: Services,
    metrics: CollectionMetrics,
    report: Report,
) -> None:
    """Collect for ever. What fails is logged and tried again.

    A store that does not judge between two writers is served by one process. A predecessor may
    still be about to write what it looked at; so there the first pass waits for the grace.
    """
    collects, marks = (
        collector(config, backend, services, report),
        marker(backend, services, report),
    )
    waited = backend.conditional
    # A start asks little of the store, whatever is in it.
    await asyncio.sleep(min(config.collection.interval_seconds, _FIRST))
    while True:
        try:
            ready = await marks.begin()
            if not config.collection.enabled:
                return
            if not waited:
                await asyncio.sleep(services.terms.grace)
                waited = True
            if ready:
                with around("collection"):
                    done = await collects.collect()
                metrics.passed("ok", done.failed, time.time())
                metrics.looked(done.seen, done.lag)
            else:
                metrics.passed("waiting")
        except LeaseHeld:
            metrics.passed("busy")
        except FAILURES as error:
            metrics.passed("error")
            _log.warning("what is due could not be collected, it will be: %s", error)
        except Exception:  # noqa: BLE001  a defect is logged whole, and does not end it
            metrics.passed("error")
            _log.exception("the collector failed")
        await asyncio.sleep(config.collection.interval_seconds)
