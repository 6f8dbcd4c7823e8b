"""Waiting for what must come to its end."""

import asyncio
from typing import TypeVar

T = TypeVar("T")


async def outlast(future: "asyncio.Future[T]") -> T:
    """Wait for ``future``, however often this task is cancelled; raise that at the end."""
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
