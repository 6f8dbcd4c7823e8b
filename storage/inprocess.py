"""Coordination between the tasks of one process: no files, no network."""
# ruff: noqa: D102 - what each method does is said once, in the port

import asyncio
from array import array
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import time_ns
from typing import final

from storage._locks import NamedLocks
from storage._stamps import SLOTS, Stamps, slots
from storage.coordination import SOLE, Change, Coordinator, Lease, LeaseHeld


@final
class InProcessCoordinator:
    """A ``Coordinator`` for one process with one event loop.

    Fences are times in nanoseconds, made to grow, so that they go on growing after a restart.
    """

    def __init__(self) -> None:
        self._leases = NamedLocks()
        self._changes = NamedLocks()
        self._stamps = Stamps(array("Q", bytes(8 * SLOTS)))
        self._fence = 0

    @property
    def lapse(self) -> float:
        return 0.0

    @asynccontextmanager
    async def hold(self, name: str, *, wait: float = 0.0) -> AsyncIterator[Lease]:
        deadline = asyncio.get_running_loop().time() + wait
        if not await self._leases.acquire(name, deadline):
            raise LeaseHeld(name)
        try:
            self._fence = max(self._fence + 1, time_ns())
            yield Lease(name, self._fence)
        finally:
            self._leases.release(name)

    async def stamps(self, *names: str) -> tuple[int | None, ...]:
        return self._stamps.even(names) or self._stamps.stable(names)

    @asynccontextmanager
    async def change(self, *names: str, wait: float = 10.0) -> AsyncIterator[Change]:
        deadline = asyncio.get_running_loop().time() + wait
        changing = slots(names)
        locked: list[int] = []
        try:
            for number in changing:
                if not await self._changes.acquire(number, deadline):
                    raise LeaseHeld(", ".join(names))
                locked.append(number)
            self._stamps.begin(changing)
            try:
                yield SOLE
            finally:
                self._stamps.end(changing)
        finally:
            for number in locked:
                self._changes.release(number)


_: type[Coordinator] = InProcessCoordinator
