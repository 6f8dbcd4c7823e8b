"""Many things at once, but not too many, and none is under way any more when this goes on.

``asyncio.gather`` raises at the first failure and lets the others run: a request would be answered,
and still be writing.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Iterator, Sequence
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


async def in_turn(
    items: AsyncIterable[T],
    work: Callable[[T], Awaitable[U]],
    done: Callable[[T, U], Awaitable[object]],
    *,
    at_once: int,
) -> None:
    """As ``each``; what ``work`` comes to is given to ``done`` in the order of the items.

    While one is waited for, only so many behind it are begun.
    """
    begun: deque[tuple[T, asyncio.Task[U]]] = deque()

    async def next_done() -> None:
        item, task = begun[0]
        await done(item, await task)
        begun.popleft()

    try:
        async with asyncio.TaskGroup() as group:
            async for item in items:
                begun.append((item, group.create_task(_awaited(work, item))))
                while begun and (len(begun) == at_once or begun[0][1].done()):
                    await next_done()
            while begun:
                await next_done()
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None


async def _awaited(work: Callable[[T], Awaitable[U]], item: T) -> U:
    return await work(item)


async def results(
    items: Iterable[T], work: Callable[[T], Awaitable[U]], *, at_once: int
) -> list[U]:
    """As ``each``; return what the work came to, in the order of the items."""
    found: dict[int, U] = {}

    async def one(numbered: tuple[int, T]) -> None:
        number, item = numbered
        found[number] = await work(item)

    await each(enumerate(items), one, at_once=at_once)
    return [found[number] for number in range(len(found))]


async def all_of(things: Iterable[Awaitable[T]]) -> list[T]:
    """Do things at once. All have ended when this raises what the first in order failed of."""
    ended = await asyncio.gather(*things, return_exceptions=True)
    return [good(each) for each in ended]


async def both(one: Awaitable[T], other: Awaitable[U]) -> tuple[T, U]:
    """As ``all_of``, for two things of two kinds."""
    ended = await asyncio.gather(one, other, return_exceptions=True)
    return good(ended[0]), good(ended[1])


def batches(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Cut into parts of ``size``; the last one may be shorter."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


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
