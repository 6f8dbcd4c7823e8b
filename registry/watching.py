"""The composition root's part for metrics: what of a process is watched by them."""

import asyncio
import os
from functools import partial
from typing import TYPE_CHECKING, Any

from registry.http.accesslog import AccessLog
from registry.http.metrics import Metrics
from registry.http.observe import RequestRecord
from registry.http.send import SENDING
from registry.service.audit.journal import Journal
from registry.service.composed import Composed
from registry.service.intake import HASHING
from registry.service.pools import Pool
from registry.service.projects.tenancy import Tenancy
from registry.service.remembered import Kept, Remembered
from registry.service.services import Services

if TYPE_CHECKING:
    from registry.tracing.opening import Tracing


class RequestObserver:
    """Tells the metrics and the access log of each request."""

    def __init__(self, metrics: Metrics, access: AccessLog | None) -> None:
        self.metrics = metrics
        self.started = metrics.started
        self.connection_closed = metrics.connection_closed
        self.watch_connections = metrics.watch_connections
        self._count = metrics.finished
        self._log = access.put if access is not None else None

    def finished(self, record: RequestRecord) -> None:
        """Count it and log it. Probes that found all well are counted only."""
        self._count(record)
        if self._log is not None and (record.action or record.status != 200):
            self._log(record)


def watch_pools(metrics: Metrics, tracing: "Tracing | None") -> None:
    """Have all pools of threads counted and traced; those of asyncio as one of ours."""
    common = Pool(min(32, (os.cpu_count() or 1) + 4), "common")
    asyncio.get_running_loop().set_default_executor(common)
    for pool in (common, HASHING, SENDING):
        metrics.watch_pool(pool.name, pool.threads, partial(getattr, pool, "outstanding"))
        if tracing is not None:
            pool.watch = tracing.threads


def watch_caches(metrics: Metrics, services: Services) -> None:
    """Have what services remember counted: hits, and misses."""
    caches: dict[str, Kept[Any] | Remembered[Any]] = {
        "blob-members": services.blobs.members,
        "blob-contents": services.blobs.contents,
        "manifests": services.manifests.contents,
        "repositories": services.catalog.known,
        "tags": services.tags.records,
        "tag-rules": services.guards.known,
        "tag-lists": services.tags.lists,
    }
    for name, cache in caches.items():
        metrics.watch_cache(name, partial(_hits_misses, cache))


def watch_tenancy(metrics: Metrics, tenancy: Tenancy) -> None:
    """As ``watch_caches``, of what is remembered of callers and projects."""
    caches: dict[str, Remembered[Any] | Composed[Any]] = {
        "access": tenancy.directory.known,
        "standings": tenancy.directory.standings.known,
        "credentials": tenancy.credentials.known,
    }
    for name, cache in caches.items():
        metrics.watch_cache(name, partial(_hits_misses, cache))


def audit_counts(journal: Journal) -> tuple[int, int, int, int]:
    """Events that are stored, dropped, refused, and that wait."""
    return journal.stored, journal.dropped, journal.refused, journal.waiting


def _hits_misses(cache: Kept[Any] | Remembered[Any] | Composed[Any]) -> tuple[int, int]:
    return cache.hits, cache.misses
