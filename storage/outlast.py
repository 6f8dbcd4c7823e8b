"""Waiting for what must come to its end."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")


async def outlast(step: Awaitable[T]) -> T:
    """Wait for ``step``, however often this task is cancelled; raise that at the end.

    ``asyncio.shield`` only keeps the first cancellation from it, and lets it go on unwatched.
    """
    future = asyncio.ensure_future(step)
    cancelled: asyncio.CancelledError | None = None
    while not future.done():
        try:
            await asyncio.wait([future])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        if not future.cancelled():
            future.exception()  # the cancellation says it all
        raise cancelled
    return future.result()
