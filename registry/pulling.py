"""The composition root's part for the pull history: flushing it, and merging what was flushed."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator

from registry.backend import Backend
from registry.background import beside, repeated
from registry.config import Config
from registry.service.failures import FAILURES
from registry.service.pulls.compactor import Compactor
from registry.service.pulls.history import PullHistory, flushing
from registry.service.services import Services

_log = logging.getLogger("moorage.pulls")

_PATIENCE = 5.0


@contextlib.asynccontextmanager
async def pulling(
    config: Config, backend: Backend, services: Services, *, first: bool
) -> AsyncIterator[None]:
    """Count pulls while this is entered; in the ``first`` worker, merge what all have counted."""
    if not config.pulls.enabled:
        yield
        return
    history, interval = services.pulls, config.pulls.flush_seconds
    work = [flushing(history, interval, _not_flushed)]
    if first:
        merge = Compactor(backend.store, backend.coordinator).compact
        work.append(
            repeated("pulls.merge", merge, interval, _log, "the pull history was not merged")
        )
    try:
        async with beside(*work):
            yield
    finally:
        await _last(history)


async def _last(history: PullHistory) -> None:
    history.counting = False
    try:
        async with asyncio.timeout(_PATIENCE):
            while await history.flush():  # what failed before, then what was counted since
                pass
    except (*FAILURES, TimeoutError) as error:
        _log.warning("the last pulls were not written down: %s", error)


def _not_flushed(error: Exception) -> None:
    defect = None if isinstance(error, FAILURES) else error
    _log.warning("pulls could not be written down, they will be: %s", error, exc_info=defect)
