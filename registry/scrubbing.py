"""The composition root's part for scrubbing: the scrubber, its second store, its schedule."""

import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path

from registry.backend import Backend, storing
from registry.background import beside, repeated
from registry.config import Config, load
from registry.http.metrics import Metrics
from registry.service.audit.events import SCRUBBER, AuditEvent, Happening
from registry.service.audit.journal import Journal
from registry.service.scrub.scrubber import Damage, Scrubber
from registry.service.terms import Terms
from registry.version import __version__
from storage.ports import ContentStore

_log = logging.getLogger("moorage.scrub")

_DAY = 86_400.0
_PAUSE = 600.0
"""Seconds between two looks whether a scrub is due."""


@contextlib.asynccontextmanager
async def second_store(config: Config) -> AsyncIterator[ContentStore | None]:
    """Open the store that ``scrub.second`` names; ``None`` where it names none."""
    if not config.scrub.second:
        yield None
        return
    second = load([Path(config.scrub.second)], {}, {})
    async with storing(second, Metrics(version=__version__)) as store:
        yield store


def scrubber(
    config: Config,
    backend: Backend,
    terms: Terms,
    told: Callable[[Damage], None],
    *,
    second: ContentStore | None = None,
    look: bool = False,
) -> Scrubber:
    """Make a scrubber."""
    return Scrubber(
        backend.store,
        backend.coordinator,
        terms,
        told,
        per_second=config.scrub.bytes_per_second,
        second=second,
        look=look,
    )


def telling(journal: Journal | None, told: Callable[[Damage], None]) -> Callable[[Damage], None]:
    """Tell the audit log too of what was not right, in the project that it was found in."""
    if journal is None:
        return told

    def both(damage: Damage) -> None:
        told(damage)
        journal.record(
            AuditEvent.of(
                time.time(),
                Happening.CONTENT_DAMAGED,
                SCRUBBER,
                tenant=damage.place.tenant,
                repository=damage.place.partition("/")[2],
                subject=damage.digest,
                outcome=damage.found,
                reason=damage.reason,
            )
        )

    return both


@contextlib.asynccontextmanager
async def scrubbing(
    config: Config,
    backend: Backend,
    terms: Terms,
    metrics: Metrics,
    journal: Journal | None,
    *,
    first: bool,
) -> AsyncIterator[None]:
    """Scrub in the ``first`` worker while this is entered, as often as the configuration says."""
    if not first or not config.scrub.interval_days:
        yield
        return
    told = telling(journal, metrics.scrub.found)
    interval = config.scrub.interval_days * _DAY
    make = partial(scrubber, config, backend, terms, told)

    async def scrub() -> None:
        last = (await make().progress()).ended
        if last and time.time() - last < interval:
            return
        async with second_store(config) as second:
            metrics.scrub.ended(await make(second=second).scrub())

    # A start asks little of the store, whatever is in it.
    pause = min(_PAUSE, interval / 4)
    async with beside(repeated("scrub", scrub, pause, _log, "the scrub was broken off")):
        yield
