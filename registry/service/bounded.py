"""Many things at once, but not too many."""

import asyncio
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable
from typing import TypeVar

T = TypeVar("T")
U = TypeVar("U")


async def each(
    items: Iterable[T] | AsyncIterable[T], work: Callable[[T], Awaitable[object]], *, at_once: int
) -> None:
    """Do ``work`` for each item, ``at_once`` of them at a time.

    The first failure ends all of them and is raised as it is; none is under way any more then.
    """
    gate = asyncio.Semaphore(at_once)

    async def one(item: T) -> None:
        try:
            await work(item)
        finally:
            gate.release()

    try:
        async with asyncio.TaskGroup() as group:
            async for item in _iterated(items):
                await gate.acquire()
                group.create_task(one(item))
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None


async def both(one: Awaitable[T], other: Awaitable[U]) -> tuple[T, U]:
    """Do two things at once. Both have ended when this raises, what the first of them failed of."""
    ended = await asyncio.gather(one, other, return_exceptions=True)
    return good(ended[0]), good(ended[1])


async def _iterated(items: Iterable[T] | AsyncIterable[T]) -> AsyncIterable[T]:
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item


def good(ended: T | BaseException) -> T:
    """Return what a call came to, or raise what it failed of: of calls that all have ended."""
    if isinstance(ended, BaseException):
        raise ended
    return ended
