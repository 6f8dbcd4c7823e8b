"""What a process remembers of the store, and may use only while it is still so."""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Generic, TypeVar

from storage.coordination import CoordinationUnavailable, Coordinator

V = TypeVar("V")


class Kept(Generic[V]):
    """Values by name, dropped when least recently used, bounded by their weight in bytes.

    For what never changes: content by its digest.
    """

    def __init__(self, limit: int, weigh: Callable[[V], int]) -> None:
        """Keep up to ``limit`` bytes; ``weigh`` gives a value's bytes."""
        self._limit = limit
        self._weigh = weigh
        self._weight = 0
        self._entries: OrderedDict[str, V] = OrderedDict()
        self.hits = 0
        self.misses = 0

    def find(self, name: str) -> V | None:
        """Return what is kept of ``name``, and count whether there was anything."""
        value = self._entries.get(name)
        if value is None:
            self.misses += 1
        else:
            self.hits += 1
            self._entries.move_to_end(name)
        return value

    def peek(self, name: str) -> V | None:
        """Return what is kept of ``name``, and count nothing."""
        return self._entries.get(name)

    def keep(self, name: str, value: V) -> None:
        """Keep the value, and drop others that were not used for longer, if need be."""
        weight = self._weigh(value) + len(name)
        if weight > self._limit // 4:
            return
        self.drop(name)
        self._entries[name] = value
        self._weight += weight
        while self._weight > self._limit:
            self.drop(next(iter(self._entries)))

    def drop(self, name: str) -> None:
        """Forget the value, if there is one."""
        value = self._entries.pop(name, None)
        if value is not None:
            self._weight -= self._weigh(value) + len(name)


class Remembered(Generic[V]):
    """Values by name as in ``Kept``, each with the stamp that its name had before it was read.

    A value is used only while the coordinator gives the name that same stamp. So an answer is
    never older than the last acknowledged change, on any worker or replica; a lost coordinator
    costs speed only.
    """

    def __init__(self, coordinator: Coordinator, limit: int, weigh: Callable[[V], int]) -> None:
        """Remember up to ``limit`` bytes; ``weigh`` gives a value's bytes."""
        self._coordinator = coordinator
        self._kept: Kept[tuple[int, V]] = Kept(limit, lambda entry: weigh(entry[1]))
        self.hits = 0
        self.misses = 0

    def peek(self, name: str) -> V | None:
        """What is remembered of ``name``, which may no longer be so: to know what to ask for."""
        entry = self._kept.peek(name)
        return entry[1] if entry else None

    async def get(self, name: str, load: Callable[[], Awaitable[V]]) -> V:
        """Return what is remembered of ``name``, or what ``load`` reads from the store.

        What ``load`` raises is passed on, and nothing is remembered: absence never is.
        """
        (stamp,) = await stamps_of(self._coordinator, name)
        return await self.use(name, stamp, load)

    async def made(self, name: str, make: Callable[[], Awaitable[V]]) -> V:
        """Return what ``make`` writes to the store, and remember it, whatever was remembered."""
        (stamp,) = await stamps_of(self._coordinator, name)
        return self._keep(name, stamp, await make())

    async def made_all(
        self, values: Mapping[str, V], make: Callable[[Sequence[V]], Awaitable[None]]
    ) -> None:
        """Remember all of the values, when ``make`` has written those that are not yet."""
        stamps = await stamps_of(self._coordinator, *values)
        new = {
            name: stamp
            for name, stamp in zip(values, stamps, strict=True)
            if self.find(name, stamp) is None
        }
        if new:
            await make([values[name] for name in new])
        for name, stamp in new.items():
            self._keep(name, stamp, values[name])

    def find(self, name: str, stamp: int | None) -> V | None:
        """Return what is remembered of ``name`` if it is still so, by a stamp taken just now."""
        entry = self._kept.find(name)
        if entry is None or entry[0] != stamp:
            return None
        self.hits += 1
        return entry[1]

    async def use(self, name: str, stamp: int | None, load: Callable[[], Awaitable[V]]) -> V:
        """As ``get``, with a stamp of ``name`` that was taken just now."""
        value = self.find(name, stamp)
        if value is not None:
            return value
        self.misses += 1
        return self._keep(name, stamp, await load())

    def _keep(self, name: str, stamp: int | None, value: V) -> V:
        if stamp is not None:
            self._kept.keep(name, (stamp, value))
        return value


async def stamps_of(coordinator: Coordinator, *names: str) -> tuple[int | None, ...]:
    """The names' stamps, asked for at once; ``None`` for all of them while nobody can tell."""
    try:
        return await coordinator.stamps(*names)
    except CoordinationUnavailable:
        return (None,) * len(names)
