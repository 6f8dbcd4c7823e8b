"""Records of one kind, each under a key of its own, with the version that conditions speak of."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from registry.service.bounded import results
from registry.service.records import Record
from registry.spec.problems import Changed
from storage.ports import NotFound, ObjectStore

R = TypeVar("R", bound=Record)
T = TypeVar("T")

PAGE: Final = 100
"""Most records of one page."""

_READS: Final = 16


@dataclass(frozen=True, slots=True)
class Kept(Generic[R]):
    """A record, where it is kept, and its version: equal versions, equal records."""

    key: str
    record: R
    version: str


@dataclass(frozen=True, slots=True)
class Leaf(Generic[T]):
    """A page: some items in the byte order of their keys; ``more`` if others may follow."""

    items: Sequence[T]
    more: bool


class Records(Generic[R]):
    """Reads and swaps records of one kind. Callers see to it that writers take turns."""

    def __init__(self, store: ObjectStore, kind: type[R]) -> None:
        """Keep records of ``kind`` in ``store``."""
        self._store = store
        self._kind = kind

    async def find(self, key: str) -> Kept[R] | None:
        """Return the record at ``key``, ``None`` if there is none."""
        try:
            value = await self._store.get(key)
        except NotFound:
            return None
        return Kept(key, self._kind.decode(value.data), value.version)

    async def page(self, prefix: str, after: str, limit: int) -> Leaf[Kept[R]]:
        """Return at most ``limit`` records below ``prefix`` whose keys sort behind ``after``.

        ``after`` is a whole key, or ``""``. A record that goes meanwhile may be left out.
        """
        limit = max(1, min(limit, PAGE))
        keys = await self._store.list(prefix, after=after, limit=limit + 1)
        found = await results(keys[:limit], self.find, at_once=_READS)
        return Leaf([each for each in found if each is not None], len(keys) > limit)

    async def count(self, prefix: str, limit: int) -> int:
        """Return how many records are below ``prefix``, ``limit`` for more."""
        return len(await self._store.list(prefix, limit=limit))

    async def write(self, key: str, record: R, standing: Kept[R] | None) -> Kept[R]:
        """Write in the place of ``standing``, or where nothing is; the loser of a race raises.

        ``AlreadyExists`` or ``PreconditionFailed``: another writer was there, in spite of the
        coordinator.
        """
        data = record.encode()
        if standing is None:
            return Kept(key, record, await self._store.create(key, data))
        return Kept(key, record, await self._store.replace(key, data, standing.version))

    async def remove(self, standing: Kept[R]) -> None:
        """Remove the record, unless it has changed: ``PreconditionFailed``."""
        await self._store.delete(standing.key, version=standing.version)


def check_version(standing: Kept[R] | None, version: str | None) -> None:
    """Raise ``Changed`` unless what stands has this version.

    ``None`` lets anything stand; ``""`` only nothing.
    """
    if version is not None and version != (standing.version if standing else ""):
        raise Changed
