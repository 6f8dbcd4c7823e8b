"""Work that goes on beside the server: begun and ended with it, and never ended by a failure."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextvars import ContextVar
from typing import Any, Final

from registry.service.failures import FAILURES
from storage.coordination import LeaseHeld


@contextlib.asynccontextmanager
async def beside(*work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run ``work`` while this is entered. At the end it is cancelled, and waited for."""
    tasks = [asyncio.create_task(each) for each in work]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


Around = Callable[[str], contextlib.AbstractContextManager[object]]

AROUND: Final[ContextVar[Around]] = ContextVar("around", default=contextlib.nullcontext)
"""What each run of background work happens inside; it is given the work's name."""


def around(name: str) -> contextlib.AbstractContextManager[object]:
    """What one run of the work is to happen inside."""
    return AROUND.get()(name)


async def repeated(
    name: str,
    work: Callable[[], Awaitable[object]],
    pause: float,
    log: logging.Logger,
    failed: str,
) -> None:
    """Do ``work`` for ever, each time after ``pause`` seconds.

    What fails is logged as what ``failed`` says, and done again; a defect is logged whole. A lease
    that another process holds is no failure: that process is at the same work.
    """
    while True:
        await asyncio.sleep(pause)
        try:
            with around(name):
                await work()
        except LeaseHeld:
            continue
        except FAILURES as error:
            log.warning("%s, it will be done again: %s", failed, error)
        except Exception:
            log.exception("%s", failed)
