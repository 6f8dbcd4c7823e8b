"""Coordination of any number of processes over one store: Redis as long as it is there, else none.

Redis coordinates, the object store decides. Losing Redis costs speed, or a wait; never an
acknowledged change, and never an answer that is older than one.

====================  ==========================  ===============================================
                      Redis counts and answers    it does not
====================  ==========================  ===============================================
``hold``              a lease there               alone in this process
``stamps``            asked there, and used only  ``None``: read the store
                      in an unbroken generation
``change``            locks and marks there       told to all through the store, and then alone
                                                  in this process
====================  ==========================  ===============================================

Why no reader is stale while some change things through Redis and others without it is said, and
proved, in ``storage.bulletin`` (between processes) and in ``storage.redis`` (within Redis).

What is *not* excluded, in the right column and for a moment wherever a lock is lost, is that two
writers are at work on one name. They must be judged by the store: each change is one
compare-and-swap of one key. So a store that can't do that (``conditional=False``) can't be changed
without Redis: ``CoordinationUnavailable``. Leases are given all the same; what is written under
them is either immutable or judged likewise.
"""
# ruff: noqa: D102 - what each method does is said once, in the port

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Protocol, Self, final

from storage._pace import PACE, Pace
from storage.bulletin import Bulletin
from storage.coordination import Change, CoordinationUnavailable, Coordinator, Lease
from storage.inprocess import InProcessCoordinator
from storage.ports import StorageError
from storage.redis import RedisCoordinator


class ReplicaObserver(Protocol):
    """Told of what an operator wants to know. Must not raise, or take long."""

    def alone(self, alone: bool) -> None:  # noqa: FBT001
        """From now on things are changed without Redis here, or not any more."""
        ...


@final
class ReplicaCoordinator:
    """A ``Coordinator`` for all processes, on any machine, that share a store and a Redis.

    Enter ``bulletin``, then ``redis`` (made with ``terms=bulletin``), then this.
    """

    def __init__(
        self,
        redis: RedisCoordinator,
        bulletin: Bulletin,
        *,
        conditional: bool = True,
        observer: ReplicaObserver | None = None,
        pace: Pace = PACE,
    ) -> None:
        """``conditional``: whether the store honours ``create`` and ``replace`` as one step."""
        self._redis = redis
        self._bulletin = bulletin
        self._conditional = conditional
        self._observer = observer
        self._pace = pace
        self._local = InProcessCoordinator()
        self._fence = 0
        self._tending: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Wait for Redis, but not longer than a new term takes: then go on without it."""
        self._tending = asyncio.create_task(self._tend())
        await self._wait_for_redis(self._pace.notice + self._pace.look)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop."""
        if self._tending is not None:
            self._tending.cancel()
            await asyncio.gather(self._tending, return_exceptions=True)

    @property
    def connected(self) -> bool:
        """Whether there is a connection to Redis."""
        return self._redis.connected

    @property
    def alone(self) -> bool:
        """Whether things are changed without Redis here."""
        return self._bulletin.alone.declared

    @property
    def trusted(self) -> bool:
        """Whether what is remembered may be used at this moment."""
        return self._bulletin.generation() is not None and self._redis.trusted

    @property
    def asked(self) -> int:
        """How many stamps Redis was asked for since the start."""
        return self._redis.asked

    @property
    def waiting(self) -> int:
        """How many commands wait for Redis."""
        return self._redis.waiting

    @property
    def lapse(self) -> float:
        return self._redis.lapse

    @asynccontextmanager
    async def hold(self, name: str, *, wait: float = 0.0) -> AsyncIterator[Lease]:
        deadline = asyncio.get_running_loop().time() + wait
        async with self._local.hold(name, wait=wait), AsyncExitStack() as stack:
            fence = self._bulletin.newest << 52 | time.time_ns() // 1000
            if self._redis.connected and not self._redis.usable:
                await self._wait_for_redis(self._pace.look / 4)
            if self._redis.usable:
                with suppress(CoordinationUnavailable):
                    left = max(0.0, deadline - asyncio.get_running_loop().time())
                    lease = await stack.enter_async_context(self._redis.hold(name, wait=left))
                    fence = lease.fence
            self._fence = max(self._fence + 1, fence)
            yield Lease(name, self._fence)

    async def stamps(self, *names: str) -> tuple[int | None, ...]:
        generation = self._bulletin.generation()
        if generation is None:
            return (None,) * len(names)
        found = await self._redis.stamps(*names)
        if self._bulletin.generation() != generation:
            return (None,) * len(names)
        base = generation << 128
        return tuple([None if stamp is None else base | stamp for stamp in found])

    @asynccontextmanager
    async def change(self, *names: str, wait: float = 10.0) -> AsyncIterator[Change]:
        deadline = asyncio.get_running_loop().time() + wait
        async with self._local.change(*names, wait=wait), AsyncExitStack() as stack:
            change = await self._enter(stack, names, deadline)
            # In an unbroken generation nobody was alone, not even for a moment.
            since = self._bulletin.generation()
            yield Change(
                lambda: change.sole() and since is not None and self._bulletin.generation() == since
            )

    async def _enter(
        self, stack: AsyncExitStack, names: tuple[str, ...], deadline: float
    ) -> Change:
        """Enter a change, through Redis or, where there is none, alone."""
        for patience in (self._pace.look, 0.0):
            if self._redis.usable:
                left = max(0.0, deadline - asyncio.get_running_loop().time())
                try:
                    return await stack.enter_async_context(self._redis.change(*names, wait=left))
                except CoordinationUnavailable:
                    pass
            if self._bulletin.alone.known or not patience:
                break
            # A flush or a short break of the connection is over in a moment; a new term takes as
            # long as the other way does.
            settling = self._pace.notice if self._redis.connected else 0.0
            await self._wait_for_redis(patience + settling)
        if not self._conditional:
            raise CoordinationUnavailable(
                "there is no Redis, and the store can't judge two writers by itself"
            )
        await stack.enter_async_context(self._bulletin.alone.acting())
        return Change(lambda: False)

    async def _wait_for_redis(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._redis.wait_usable()

    async def _tend(self) -> None:
        """Tell of it when this process goes alone; take that back when there is Redis again."""
        loop = asyncio.get_running_loop()
        alone = self._bulletin.alone
        usable_since = loop.time()
        told = False
        while True:
            await asyncio.sleep(self._pace.look / 2)
            if not self._redis.usable:
                usable_since = loop.time()
            if alone.declared != told:
                told = alone.declared
                if self._observer is not None:
                    self._observer.alone(told)
            steady = loop.time() > usable_since + self._pace.valid
            if alone.declared and (steady or alone.idle > self._pace.flux):
                with suppress(StorageError, TimeoutError):
                    await alone.withdraw()


_: type[Coordinator] = ReplicaCoordinator
