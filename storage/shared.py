"""Coordination between all processes of one machine that share a directory.

Two files in it: ``locks``, of which bytes are locked and none is ever read or written, and
``stamps``, a table of 64-bit numbers that every process maps into its memory.

**Why a stamp that is read without a lock tells the truth.** A number is written only by the holder
of its slot's lock, in one aligned 8-byte store, and read in one aligned 8-byte load, which the
processors that Linux runs on do not tear. A writer stores the odd number, then changes the object
store, then stores the even one; a reader loads the number, then reads the object store.

1. *Entering.* The odd number reaches all cores before any effect of the change does: between them
   lie system calls that take and leave locks in the kernel, which order memory (release, acquire).
   So who has seen any effect of the change, or heard of it from a client, meets the odd number or
   a later one. A reader that loads the old even number is not after the change in any order that
   anyone can tell.
2. *Leaving.* The even number is stored after the change was done, by the same thread, with system
   calls in between. A reader that loads it makes system calls of its own before it sees an object,
   and so sees the change.
3. *Remembering.* What was read between two loads of one even number is the same object that is
   there at the second load: a change in between would have left an odd or a larger number.
"""
# ruff: noqa: D102 - what each method does is said once, in the port

import asyncio
import mmap
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import blake2b
from pathlib import Path
from time import monotonic, time_ns
from typing import final

from storage._locks import NamedLocks
from storage._root import RangeLocks
from storage._stamps import SLOTS, Stamps, slot, slots
from storage.coordination import (
    SOLE,
    Change,
    CoordinationUnavailable,
    Coordinator,
    Lease,
    LeaseHeld,
)

_CHANGES = 1 << 62
"""Where the locks of slots begin; those of leases are below."""

_FENCES = SLOTS
"""Where the fences begin, behind the stamps."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.001, 0.020
_REPAIR_PAUSE = 0.1


@final
class HostCoordinator:
    """A ``Coordinator`` for all processes that name the same local ``directory``.

    Each makes its own, after any fork: the locks belong to the open file (``F_OFD_SETLK``), and a
    child would share its parent's. What a process held is free at once when it dies.
    """

    def __init__(self, directory: Path) -> None:
        """Open ``directory``, made if it is missing. ``CoordinationUnavailable`` if it can't be."""
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            self._ranges = RangeLocks(os.open(directory / "locks", flags, 0o600))
            table = os.open(directory / "stamps", flags, 0o600)
            try:
                # blocks of its own, so that a full disk can't fail a store to memory (SIGBUS)
                os.posix_fallocate(table, 0, 2 * 8 * SLOTS)
                mapped = mmap.mmap(table, 2 * 8 * SLOTS)
            finally:
                os.close(table)
        except OSError as error:
            raise CoordinationUnavailable(f"{directory}: {error.strerror or error}") from error
        self._numbers = memoryview(mapped).cast("Q")
        self._stamps = Stamps(self._numbers)
        self._leases = NamedLocks()
        self._changes = NamedLocks()
        self._repaired = 0.0

    @property
    def lapse(self) -> float:
        return 0.0

    @asynccontextmanager
    async def hold(self, name: str, *, wait: float = 0.0) -> AsyncIterator[Lease]:
        deadline = asyncio.get_running_loop().time() + wait
        if not await self._leases.acquire(name, deadline):
            raise LeaseHeld(name)
        try:
            offset = int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "big") >> 2
            if not await self._lock(offset, deadline):
                raise LeaseHeld(name)
            try:
                yield Lease(name, self._fence(name))
            finally:
                self._ranges.unlock(offset)
        finally:
            self._leases.release(name)

    async def stamps(self, *names: str) -> tuple[int | None, ...]:
        return self._stamps.even(names) or self._stable(names)

    @asynccontextmanager
    async def change(self, *names: str, wait: float = 10.0) -> AsyncIterator[Change]:
        deadline = asyncio.get_running_loop().time() + wait
        changing = slots(names)
        taken: list[int] = []
        locked: list[int] = []
        try:
            for number in changing:
                if not await self._changes.acquire(number, deadline):
                    raise LeaseHeld(", ".join(names))
                taken.append(number)
                if not await self._lock(_CHANGES + number, deadline):
                    raise LeaseHeld(", ".join(names))
                locked.append(number)
            self._stamps.begin(changing)
            try:
                yield SOLE
            finally:
                self._stamps.end(changing)
        finally:
            for number in locked:
                self._ranges.unlock(_CHANGES + number)
            for number in taken:
                self._changes.release(number)

    async def _lock(self, offset: int, deadline: float) -> bool:
        """Take a lock that another process may hold; ``False`` if it was not free in time."""
        loop = asyncio.get_running_loop()
        pause = _FIRST_PAUSE
        while not self._try_lock(offset):
            left = deadline - loop.time()
            if left <= 0:
                return False
            await asyncio.sleep(min(pause, left))
            pause = min(2 * pause, _LONGEST_PAUSE)
        return True

    def _try_lock(self, offset: int) -> bool:
        try:
            return self._ranges.try_lock(offset)
        except OSError as error:
            raise CoordinationUnavailable(f"no lock: {error.strerror or error}") from error

    def _fence(self, name: str) -> int:
        """Time in nanoseconds, but more than the slot's last fence, should the clock go back."""
        place = _FENCES + slot(name)
        fence = max(self._numbers[place] + 1, time_ns())
        self._numbers[place] = fence
        return fence

    def _stable(self, names: tuple[str, ...]) -> tuple[int | None, ...]:
        now = monotonic()
        if now >= self._repaired + _REPAIR_PAUSE:
            self._repaired = now
            for number in slots(names):
                self._repair(number)
        return self._stamps.stable(names)

    def _repair(self, number: int) -> None:
        """Make an odd slot even if its writer died: then nobody holds its lock."""
        if self._changes.held(number) or not self._numbers[number] & 1:
            return
        if self._try_lock(_CHANGES + number):
            try:
                if self._numbers[number] & 1:
                    self._numbers[number] += 1
            finally:
                self._ranges.unlock(_CHANGES + number)


_: type[Coordinator] = HostCoordinator
