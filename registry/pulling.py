"""The composition root's part for the pull history: flushing it, and merging what was flushed."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator

from registry.backend import Backend
from registry.config import Config
from registry.service.pulls.compactor import Compactor
from registry.service.pulls.history import PullHistory, flushing
from registry.service.records import Corrupt
from registry.service.services import Services
from storage.coordination import CoordinationUnavailable, LeaseHeld
from storage.ports import StorageError

_log = logging.getLogger("moorage.pulls")

_FAILURES = (StorageError, CoordinationUnavailable, Corrupt)
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
    tasks = [asyncio.create_task(flushing(history, interval, _not_flushed))]
    if first:
        tasks.append(asyncio.create_task(_compact(backend, interval)))
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await _last(history)


async def _last(history: PullHistory) -> None:
    history.counting = False
    try:
        async with asyncio.timeout(_PATIENCE):
            while await history.flush():  # what failed before, then what was counted since
                pass
    except (*_FAILURES, TimeoutError) as error:
        _log.warning("the last pulls were not written down: %s", error)


def _not_flushed(error: Exception) -> None:
    defect = None if isinstance(error, _FAILURES) else error
    _log.warning("pulls could not be written down, they will be: %s", error, exc_info=defect)


async def _compact(backend: Backend, interval: float) -> None:
    """Merge for ever. What fails is logged, and tried again."""
    compactor = Compactor(backend.store, backend.coordinator)
    while True:
        await asyncio.sleep(interval)
        try:
            await compactor.compact()
        except LeaseHeld:
            pass
        except _FAILURES as error:
            _log.warning("the pull history could not be merged, it will be: %s", error)
        except Exception:  # noqa: BLE001  a defect is logged whole, and does not end it
            _log.exception("the pull history could not be merged")
