"""The composition root's part for retention: it runs beside the server, in one worker."""

import contextlib
import logging
import time
from collections.abc import AsyncIterator

from auth.access import Tenant
from registry.backend import Backend
from registry.background import beside, repeated
from registry.config import Config
from registry.http.collection import CollectionMetrics
from registry.service.audit.events import AuditEvent, Happening, Origin
from registry.service.audit.journal import Journal
from registry.service.projects.retention_runs import RetentionRuns
from registry.service.retention import BY, Expired
from registry.service.services import Services
from storage.coordination import LeaseHeld

_log = logging.getLogger("moorage.retention")


@contextlib.asynccontextmanager
async def retaining(
    config: Config,
    backend: Backend,
    services: Services,
    metrics: CollectionMetrics,
    journal: Journal | None,
    *,
    first: bool,
) -> AsyncIterator[None]:
    """Run retention while this is entered, in the ``first`` worker, where there are projects."""
    seconds = config.collection.retention_seconds
    if not first or not seconds or config.auth.mode == "open":
        yield
        return

    def told(tenant: Tenant, name: str, done: Expired) -> None:
        for what, gone in (
            (Happening.TAG_EXPIRED, done.tags),
            (Happening.MANIFEST_EXPIRED, done.manifests),
        ):
            metrics.expired(what.partition(".")[0], len(gone))
            for each in gone:
                if journal is not None:
                    journal.record(
                        AuditEvent.of(
                            time.time(),
                            what,
                            Origin(BY),
                            project=tenant.name,
                            tenant=tenant.id,
                            repository=name,
                            subject=each,
                        )
                    )

    runs = RetentionRuns(
        backend.store,
        backend.coordinator,
        services.retainer,
        told,
        per_second=config.collection.per_second,
    )

    async def run() -> None:
        try:
            metrics.retained("error" if await runs.run() else "ok")
        except LeaseHeld:
            metrics.retained("busy")
        except Exception:
            metrics.retained("error")
            raise

    async with beside(repeated("retention", run, seconds, _log, "retention did not run")):
        yield
