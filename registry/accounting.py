"""The composition root's part for quotas: default limits, and what settles and counts."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator

from registry.background import beside, repeated
from registry.config import Config
from registry.service.failures import FAILURES
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
    quotas = services.quotas
    work = [quotas.run()]
    if first:
        interval = config.quota.interval_seconds
        count, failed = quotas.counting.count_due, "what is due was not counted"
        work.append(repeated("quota.count", count, interval, _log, failed))
    try:
        async with beside(*work):
            yield
    finally:
        with contextlib.suppress(*FAILURES, TimeoutError):
            async with asyncio.timeout(5):
                await quotas.settle(close=True)
