"""What a process makes of many things in the store, and may use while none of them has changed."""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from functools import partial
from typing import Generic, TypeVar

from storage.coordination import CoordinationUnavailable, Coordinator

V = TypeVar("V")

Watch = Callable[..., Awaitable[None]]
"""Names what is going to be read: to be awaited before the reading."""


class Composed(Generic[V]):
    """Values that were made from what several names stand for; the least recently used go first.

    As ``Remembered``: a value is used only while every one of the names has the stamp that it had
    before what it stands for was read. Which names these are, the making of the value finds out.
    """

    def __init__(
        self,
        coordinator: Coordinator,
        entries: int,
        worth: Callable[[V], bool] = lambda _: True,
    ) -> None:
        """Remember up to so many values, of those that are ``worth`` it."""
        self._coordinator = coordinator
        self._worth = worth
        self._most = entries
        self._entries: OrderedDict[Hashable, tuple[tuple[str, ...], tuple[int | None, ...], V]] = (
            OrderedDict()
        )
        self.hits = 0
        self.misses = 0

    async def peek(self, key: Hashable) -> V | None:
        """Return the value of ``key`` if it is remembered and still so."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        names, stamps, value = entry
        if not await self.holds(names, stamps):
            return None
        # Another task may have dropped it meanwhile.
        if key in self._entries:
            self._entries.move_to_end(key)
        return value

    async def holds(self, names: tuple[str, ...], stamps: tuple[int | None, ...]) -> bool:
        """Whether the names still have these stamps: then what was made from them is still so."""
        if await self._stamps(names) != stamps:
            return False
        self.hits += 1
        return True

    def proof(self, key: Hashable, value: V) -> Callable[[], Awaitable[bool]] | None:
        """Return what tells later on whether ``value`` still is that of ``key``.

        ``None`` where it is not remembered.
        """
        entry = self._entries.get(key)
        if entry is None or entry[2] is not value:
            return None
        return partial(self.holds, entry[0], entry[1])

    async def get(self, key: Hashable, make: Callable[[Watch], Awaitable[V]]) -> V:
        """Return the value of ``key`` as it was made, or make it anew.

        ``make`` is given a ``Watch`` and must await it with the names of what it reads, before it
        reads. What it raises is passed on, and nothing is remembered.
        """
        found = await self.peek(key)
        if found is not None:
            return found
        self.misses += 1
        watched: dict[str, int | None] = {}

        async def watch(*names: str) -> None:
            fresh = [name for name in names if name not in watched]
            if fresh:
                watched.update(zip(fresh, await self._stamps(tuple(fresh)), strict=True))

        value = await make(watch)
        if self._worth(value) and None not in watched.values():
            self._entries[key] = (tuple(watched), tuple(watched.values()), value)
            self._entries.move_to_end(key)
            if len(self._entries) > self._most:
                self._entries.popitem(last=False)
        return value

    async def _stamps(self, names: tuple[str, ...]) -> tuple[int | None, ...]:
        try:
            return await self._coordinator.stamps(*names)
        except CoordinationUnavailable:
            return (None,) * len(names)
