"""Coordination through one Redis primary: leases, changes, and stamps asked for in batches.

A driver by itself, and one half of ``storage.replicas``, which knows what to do without it. Where
Redis can't be asked, ``hold`` and ``change`` raise ``CoordinationUnavailable`` and ``stamps``
gives ``None``, at once or within ``RedisAccess.timeout``.

**Which Redis counts** is not for Redis to say: after a fail-over, or in a network that is cut in
two, a second server may take itself for the primary. ``Terms`` says it; a table of stamps
(``storage._redis_table``) belongs to one term of one primary.

**Why a stamp tells the truth.** Let a process use what it remembered under a stamp, because
``stamps`` gave the same one again. Then no change of the name has had an effect that the
remembered value lacks, and was acknowledged before the question:

1. A change through this table made the number odd before its first effect, and gave it a new one
   after its last. The number, and with it the epoch, was read after the question was asked.
2. A change through an earlier table of the same term, which was flushed or evicted: its marks are
   lost, but what it does takes effect within ``Pace.flux`` seconds of its last sign of life. No
   stamp is given out of a table that is younger, and its end gives new numbers in this one.
3. A change through another primary: ``Terms`` gives no number to two at once, nor to the later one
   before every process has heard of it (its promise); and again ``flux`` seconds pass before the
   new table is relied upon.
4. A change that was cut off by death: its slots stay odd until it can have no effect any more.
5. A change whose end could not be told to Redis: as 4, and it is told as soon as Redis is back.
"""
# ruff: noqa: D102 - what each method does is said once, in the port

import asyncio
import random
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from typing import Any, Final, Self, final

from storage import _redis_table as layout
from storage._pace import PACE, Pace
from storage._redis_batch import Stamps
from storage._redis_link import Command
from storage._redis_primary import Primary
from storage._redis_standing import RedisObserver, Standing, Table
from storage._terms import SoleTerms, Terms
from storage.coordination import (
    Change,
    CoordinationUnavailable,
    Coordinator,
    Lease,
    LeaseHeld,
)
from storage.outlast import outlast
from storage.redis_address import RedisAccess, RedisAddress

__all__ = [
    "NoObserver",
    "RedisCoordinator",
    "RedisObserver",
    "SoleTerms",
    "Terms",
    "Watch",
    "named",
]

Watch = Callable[[Command, "asyncio.Future[Any]"], None]

_FIRST_PAUSE, _LONGEST_PAUSE = 0.002, 0.025
_REPAIR_PAUSE: Final = 0.1


def named(command: Command) -> tuple[str, str]:
    """The name of a command, and of the script that it runs (``""`` for none), for people."""
    name = str(command[0])
    return name, layout.NAMES.get(str(command[1]), "") if len(command) > 1 else ""


class NoObserver:
    """Takes no notice of anything."""

    def connected(self, where: str) -> None: ...

    def disconnected(self, reason: str) -> None: ...

    def new_epoch(self) -> None: ...

    def lock_lost(self) -> None: ...

    def round_trip(self, commands: int, seconds: float) -> None: ...


@dataclass(slots=True, eq=False)
class _Holding:
    """A lock or lease of this process: how it is kept, and the limit that this extends."""

    keep: Command
    kept: int
    limit: asyncio.Timeout | None = None
    lost: bool = False


@final
class RedisCoordinator:
    """A ``Coordinator`` for all processes that give it the same address and ``installation``.

    Fences grow with each term, and within one with the server's clock, made to grow. A holder that
    dies loses what it held after ``Pace.lease`` seconds. One that lives, but can't reach Redis,
    loses it too: what is done under a lock needs a second judge (compare-and-swap).
    """

    def __init__(
        self,
        address: RedisAddress,
        access: RedisAccess,
        *,
        installation: str,
        prefix: str = "moorage",
        terms: Terms | None = None,
        observer: RedisObserver | None = None,
        watch: Watch | None = None,
        pace: Pace = PACE,
    ) -> None:
        """Coordinate under keys that start with ``prefix`` and ``installation``.

        Both must be the same for the processes of one store, and for no others. Without ``terms``
        Redis itself is believed. ``watch`` is told of each command that a task asks for, in that
        task, and of the future that brings its answer.
        """
        # The braces put all keys in one hash slot of a Cluster: scripts change several at once.
        self._keys = f"{prefix}:{{{installation}}}:"
        self._table_key = f"{self._keys}stamps"
        self._hash_key = blake2b(installation.encode(), digest_size=32).digest()
        self._pace = pace
        self._lease = round(1000 * pace.lease)
        self._rest = round(1000 * pace.flux) - self._lease
        self._observer = observer or NoObserver()
        self._standing = Standing(
            Primary(address, access, self._table_key),
            self._table_key,
            f"{self._keys}{address.database}",
            terms=terms or SoleTerms(),
            observer=self._observer,
            pace=pace,
        )
        self._link = self._standing.link
        self._link.watch = watch
        self._stamps = Stamps(self._link, self._table_key)
        self._held: set[_Holding] = set()
        self._untold: set[Command] = set()
        self._repaired = 0.0
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        """Begin to connect, and do not wait for it."""
        self._tasks = [
            asyncio.create_task(self._standing.run()),
            asyncio.create_task(self._give_signs_of_life()),
        ]
        return self

    async def __aexit__(self, *_: object) -> None:
        """End the connection. What is still held is left to end by itself."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def connected(self) -> bool:
        """Whether there is a connection to a primary, whether or not that counts."""
        return self._link.up

    @property
    def usable(self) -> bool:
        """Whether locks can be had at this moment, as far as it is known."""
        return self._standing.table is not None

    @property
    def trusted(self) -> bool:
        """Whether stamps can be had at this moment, as far as it is known."""
        table = self._standing.table
        return table is not None and asyncio.get_running_loop().time() >= table.trusted

    @property
    def asked(self) -> int:
        """How many stamps were asked for since the start."""
        return self._stamps.asked

    @property
    def waiting(self) -> int:
        """How many commands wait for the round trip that is under way."""
        return self._link.waiting

    async def wait_usable(self) -> None:
        """Wait until it is ``usable``."""
        await self._standing.wait()

    # the port

    @property
    def lapse(self) -> float:
        return self._pace.lease

    @asynccontextmanager
    async def hold(self, name: str, *, wait: float = 0.0) -> AsyncIterator[Lease]:
        key = f"{self._keys}lease:{blake2b(name.encode(), digest_size=16).hexdigest()}"
        token = secrets.token_hex(8)
        take: Command = ("EVAL", layout.TAKE, 2, key, f"{self._keys}fence", token, self._lease)
        keep: Command = ("EVAL", layout.KEEP, 1, key, token, self._lease)
        drop: Command = ("EVAL", layout.DROP, 1, key, token)
        table, answer, _ = await self._acquire(lambda _: take, drop, name, wait)
        holding = _Holding(keep, 1)
        self._held.add(holding)
        try:
            yield Lease(name, table.term << 52 | int(answer[2]))
        finally:
            self._held.discard(holding)
            await self._let_go(drop)

    async def stamps(self, *names: str) -> tuple[int | None, ...]:
        table = self._standing.table
        if table is None or asyncio.get_running_loop().time() < table.trusted or not names:
            return (None,) * len(names)
        slots = [self._slot(name) for name in names]
        try:
            epoch, *numbers = await self._stamps.ask(slots)
        except CoordinationUnavailable:
            return (None,) * len(names)
        if epoch != table.epoch:
            self._standing.lost(table)
        if epoch != table.epoch or not self._standing.current(table):
            return (None,) * len(names)
        base = epoch << 64
        found = tuple([None if number & 1 else base | number for number in numbers])
        if None in found:
            self._repair([slot for slot, stamp in zip(slots, found, strict=True) if stamp is None])
        return found

    @asynccontextmanager
    async def change(self, *names: str, wait: float = 10.0) -> AsyncIterator[Change]:
        slots = sorted({self._slot(name) for name in names})
        key, token = self._table_key, secrets.randbits(52) | 1
        keep: Command = ("EVAL", layout.RENEW, 1, key, token, self._lease, *slots)
        end: Command = ("EVAL", layout.END, 1, key, token, *slots)

        def begin(table: Table) -> Command:
            terms = (table.epoch, token, self._lease, self._rest)
            return ("EVAL", layout.BEGIN, 1, key, *terms, *slots)

        _, _, asked = await self._acquire(begin, end, ", ".join(names), wait)
        limit = asyncio.timeout_at(asked + self._pace.body)
        holding = _Holding(keep, len(slots), limit)
        self._held.add(holding)
        try:
            async with limit:
                yield Change(lambda: self._sole(holding, limit))
        except TimeoutError as error:
            if limit.expired():
                raise CoordinationUnavailable("it lost its lock, and was cut off") from error
            raise
        finally:
            self._held.discard(holding)
            self._untold.add(end)
            await self._tell(end)

    # locks and leases

    async def _acquire(
        self, command: Callable[[Table], Command], undo: Command, name: str, wait: float
    ) -> tuple[Table, list[Any], float]:
        """Ask until it is granted; return the table, the answer, and when it was asked for.

        If it raises, nothing is held. (Where an answer got lost, until it ends by itself.)
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + wait
        pause = _FIRST_PAUSE
        while True:
            table = self._standing.table
            if table is None:
                raise CoordinationUnavailable("there is no Redis that counts at this moment")
            asked = loop.time()
            try:
                answer = await self._link.call(*command(table))
            except asyncio.CancelledError:
                await self._let_go(undo)
                raise
            if answer[0] == b"yours":
                # Looked at again: from here on whoever relies on another primary knows better.
                if self._standing.current(table):
                    return table, answer, asked
                await self._let_go(undo)
                continue
            if answer[0] == b"lost":
                self._standing.lost(table)
                continue
            left = deadline - loop.time()
            if left <= 0:
                raise LeaseHeld(name)
            pauses = (pause * random.uniform(0.5, 1.0), left, answer[1] / 1000)  # noqa: S311
            await asyncio.sleep(min(pauses))
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _sole(self, holding: _Holding, limit: asyncio.Timeout) -> bool:
        """Whether the last sign of life is so young that the lock can't have ended by itself."""
        when = limit.when()
        if holding.lost or when is None:
            return False
        return asyncio.get_running_loop().time() < when - self._pace.body + self._pace.lease / 2

    async def _let_go(self, command: Command) -> None:
        """Let go. If Redis can't be told, the lock ends by itself, and the mark somewhat later."""
        with suppress(CoordinationUnavailable):
            await outlast(self._link.call(*command))

    async def _tell(self, end: Command) -> None:
        """Tell a Redis that counts that a change has ended, or leave it to the next attempt."""
        with suppress(CoordinationUnavailable):
            await outlast(self._link.call(*end))
            if self.usable:
                self._untold.discard(end)

    async def _give_signs_of_life(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self._pace.renewal)
            await self._standing.check()
            with suppress(CoordinationUnavailable):
                for holding in self._held:
                    answer = self._link.call(*holding.keep)
                    answer.add_done_callback(partial(self._renewed, holding, loop.time()))
            for end in list(self._untold):
                if self.usable:
                    await self._tell(end)

    def _renewed(self, holding: _Holding, asked: float, answer: "asyncio.Future[Any]") -> None:
        if answer.cancelled() or answer.exception() is not None:
            return
        if answer.result() == holding.kept and self.usable:
            if holding.limit is not None:
                with suppress(RuntimeError):  # it has ended at this moment
                    holding.limit.reschedule(asked + self._pace.body)
        elif answer.result() != holding.kept and not holding.lost:
            holding.lost = True
            self._observer.lock_lost()

    # stamps

    def _slot(self, name: str) -> int:
        # With a key: else whoever may choose names could choose those that share another's slot.
        found = blake2b(name.encode(), digest_size=4, key=self._hash_key).digest()
        return int.from_bytes(found, "big") % layout.SLOTS

    def _repair(self, slots: list[int]) -> None:
        now = asyncio.get_running_loop().time()
        if now >= self._repaired + _REPAIR_PAUSE:
            self._repaired = now
            with suppress(CoordinationUnavailable):
                self._link.call("EVAL", layout.REPAIR, 1, self._table_key, self._rest, *slots)


_: type[Coordinator] = RedisCoordinator
