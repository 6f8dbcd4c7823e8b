"""Stamps that many tasks ask for, in one command a round trip."""

import asyncio
from collections.abc import Sequence
from typing import Final, final

from storage import _redis_table as table
from storage._redis_link import Command, Link
from storage.coordination import CoordinationUnavailable

_READ: Final[Command] = ("BITFIELD_RO",)
"""What commands for stamps begin with."""


@final
class _Batch:
    """The slots that one command asks for. It is open until the command leaves."""

    __slots__ = ("_key", "_places", "_waiting", "open")

    def __init__(self, key: str) -> None:
        self._key = key
        self._places: dict[int, int] = {}
        self._waiting: list[tuple[list[int], asyncio.Future[list[int]]]] = []
        self.open = True

    def add(self, slots: Sequence[int]) -> "asyncio.Future[list[int]]":
        places = self._places
        found = [0, *[places.setdefault(slot, len(places) + 1) for slot in slots]]
        future: asyncio.Future[list[int]] = asyncio.get_running_loop().create_future()
        self._waiting.append((found, future))
        return future

    def command(self) -> Command:
        self.open = False
        command: list[str | int] = [*_READ, self._key, "GET", "i64", table.EPOCH_BIT]
        for slot in self._places:
            command += ("GET", "i64", table.number_bit(slot))
        return tuple(command)

    def reply(self, value: list[int]) -> None:
        for places, future in self._waiting:
            if not future.done():
                future.set_result([value[place] for place in places])

    def fail(self, error: CoordinationUnavailable) -> None:
        self.open = False
        for _, future in self._waiting:
            if not future.done():
                future.set_exception(error)
                future.exception()  # the task that asked may be gone


@final
class Stamps:
    """Reads the numbers of slots, those of all tasks that ask in one turn together."""

    def __init__(self, link: Link, key: str) -> None:
        """Read the table at ``key`` over ``link``."""
        self._link = link
        self._key = key
        self._batch: _Batch | None = None
        self.asked = 0
        """How many slots were asked for since the start."""

    def ask(self, slots: Sequence[int]) -> "asyncio.Future[list[int]]":
        """Return a future of the epoch and the numbers of ``slots``, read later than now.

        ``CoordinationUnavailable``, here or from the future, where they can't be read.
        """
        self.asked += len(slots)
        batch = self._batch
        if batch is None or not batch.open:
            batch = _Batch(self._key)
            self._link.send(batch)
            self._batch = batch
        found = batch.add(slots)
        if self._link.watch is not None:
            self._link.watch(_READ, found)
        return found
