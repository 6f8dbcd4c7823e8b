"""The composition root's part for quotas: default limits, and what settles and counts."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator

from registry.config import Config
from registry.service.quotas.quotas import FAILURES
from registry.service.services import Services
from registry.spec.quota import Limits

_log = logging.getLogger("moorage.quotas")


def limits_of(config: Config) -> Limits:
    """Return what a new project may hold."""
    quota = config.quota
    return Limits(
        quota.bytes or None, quota.repositories or None, quota.tags or None, quota.warn_percent
    )


@contextlib.asynccontextmanager
async def accounting(config: Config, services: Services, *, first: bool) -> AsyncIterator[None]:
    """Settle what is stored while this is entered; in the ``first`` worker, count what is due.

    At the end all that this process holds is given back.
    """
    tasks = [asyncio.create_task(services.quotas.run())]
    if first:
        tasks.append(asyncio.create_task(_count(config, services)))
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        with contextlib.suppress(*FAILURES, TimeoutError):
            async with asyncio.timeout(5):
                await services.quotas.settle(close=True)


async def _count(config: Config, services: Services) -> None:
    """Count for ever what is due. What fails is logged and done again."""
    while True:
        await asyncio.sleep(config.quota.interval_seconds)
        try:
            await services.quotas.count_due()
        except FAILURES as error:
            _log.warning("what is due could not be counted, it will be: %s", error)
        except Exception:  # noqa: BLE001  a defect is logged whole, and does not end it
            _log.exception("counting failed")
