"""What a process remembers of the store, and may use only while it is still so."""

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from storage.coordination import CoordinationUnavailable, Coordinator

V = TypeVar("V")


class Remembered(Generic[V]):
    """Values by name, dropped when least recently used, bounded by their weight in bytes.

    A value is used only while the coordinator gives the name the same stamp as before the value
    was read from the store. So an answer is never older than the last acknowledged change, on any
    worker or replica; a lost coordinator costs speed only.
    """

    def __init__(self, coordinator: Coordinator, limit: int, weigh: Callable[[V], int]) -> None:
        """Remember up to ``limit`` bytes; ``weigh`` gives a value's bytes."""
        self._coordinator = coordinator
        self._limit = limit
        self._weigh = weigh
        self._weight = 0
        self._entries: OrderedDict[str, tuple[int, V]] = OrderedDict()
        self.hits = 0
        self.misses = 0

    async def get(self, name: str, load: Callable[[], Awaitable[V]]) -> V:
        """Return what is remembered of ``name``, or what ``load`` reads from the store.

        What ``load`` raises is passed on, and nothing is remembered: absence never is.
        """
        try:
            (stamp,) = await self._coordinator.stamps(name)
        except CoordinationUnavailable:
            stamp = None
        entry = self._entries.get(name)
        if entry is not None and entry[0] == stamp:
            self.hits += 1
            self._entries.move_to_end(name)
            return entry[1]
        self.misses += 1
        value = await load()
        if stamp is not None:
            self._keep(name, stamp, value)
        return value

    def _keep(self, name: str, stamp: int, value: V) -> None:
        weight = self._weigh(value) + len(name)
        if weight > self._limit // 4:
            return
        self._drop(name)
        self._entries[name] = (stamp, value)
        self._weight += weight
        while self._weight > self._limit:
            self._drop(next(iter(self._entries)))

    def _drop(self, name: str) -> None:
        entry = self._entries.pop(name, None)
        if entry is not None:
            self._weight -= self._weigh(entry[1]) + len(name)
