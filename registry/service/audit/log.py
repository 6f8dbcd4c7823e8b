"""Reading the audit log, page by page, and verifying all of it."""

import re
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from registry.service.audit.chain import Damaged, Entry, Head, Part, Verification, entries
from registry.service.bounded import all_of
from registry.service.listing import every_key
from registry.service.projects.kept import Leaf
from storage import keys
from storage.ports import NotFound, ObjectStore

PAGE: Final = 100
"""Most events of one page."""

CURSOR: Final = r"[0-9]{1,13}(\.[0-9a-f]{16}\.[0-9]{8,12}\.[0-9]{1,6})?"
"""Where a page begins: at a Unix time in milliseconds, or behind an event."""

_READS: Final = 16
_KEYS: Final = 64
_CURSOR: Final = re.compile(CURSOR, re.ASCII).fullmatch


@dataclass(frozen=True, slots=True)
class Kept:
    """An event as it is kept: its hash, and the cursor that leads behind it."""

    entry: Entry
    digest: str
    cursor: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is known of one writer's events: how many, what is wrong, whether it has ended.

    ``writer`` is empty for what is kept among them and is none of any. ``unvouched`` as in
    ``Verification``.
    """

    writer: str
    events: int
    findings: Sequence[str]
    sealed: bool = False
    unvouched: int = 0


class AuditLog:
    """Reads events. What a journal has not written yet is not there."""

    def __init__(self, store: ObjectStore, key: bytes = b"") -> None:
        """Check hashes with ``key``."""
        self._store = store
        self._key = key

    async def page(self, tenant: str, after: str = "", limit: int = PAGE) -> Leaf[Kept]:
        """Return at most ``limit`` events about a project, ``""``: about none, behind ``after``.

        They come batch by batch, in the order in which these were written. ``after`` is empty, a
        time, or a cursor; ``ValueError`` if it is none of these. Damaged events are left out.
        """
        if after and _CURSOR(after) is None:
            raise ValueError(f"{after!r} is no cursor")
        limit = max(1, min(limit, PAGE))
        place, _, index = after.rpartition(".")
        found: list[Kept] = []
        async for name, data in self._batches(keys.audited(tenant), place, after):
            found += self._events(name, data, int(index) if name == place else 0)
            if len(found) > limit:
                break
        return Leaf(found[:limit], len(found) > limit)

    def _events(self, name: str, data: bytes, skip: int) -> Iterator[Kept]:
        for number, each in enumerate(entries(data, self._key), 1):
            if number > skip and not isinstance(each, Damaged):
                yield Kept(each[1], each[0], f"{name}.{number}")

    async def _batches(
        self, prefix: str, place: str, after: str
    ) -> AsyncIterator[tuple[str, bytes]]:
        """Yield names and bytes of the batches from ``place``, or from the time ``after``."""
        last = prefix + place
        if place:
            yield place, await self._get(last)
        elif after:
            last = f"{prefix}{int(after):013}"
        while True:
            listed = await self._store.list(prefix, after=last, limit=_KEYS)
            for first in range(0, len(listed), _READS):
                some = listed[first : first + _READS]
                for key, data in zip(some, await self._all(some), strict=True):
                    yield key[len(prefix) :], data
            if len(listed) < _KEYS:
                return
            last = listed[-1]

    async def _all(self, some: Sequence[str]) -> Sequence[bytes]:
        return await all_of(map(self._get, some))

    async def _get(self, key: str) -> bytes:
        try:
            return (await self._store.get(key)).data
        except NotFound:
            return b""

    async def verify(self) -> AsyncIterator[Verdict]:
        """Check every event of every writer; others may write meanwhile.

        The keys of all batches are held in memory, about 200 bytes each.
        """
        heads: dict[str, Head | Damaged] = {}
        async for key in every_key(self._store, keys.AUDIT_HEADS):
            heads[keys.last_segment(key)] = await self._head(keys.last_segment(key))
        batches: dict[str, dict[int, list[str]]] = defaultdict(lambda: defaultdict(list))
        strange = []
        async for key in every_key(self._store, keys.AUDIT):
            found = keys.audit_batch_parts(key)
            if found is None:
                strange.append(f"{key} is no batch of events")
            else:
                batches[found[1]][found[2]].append(key)
        if strange:
            yield Verdict("", 0, strange)
        for writer in sorted({*heads, *batches}):
            latest = await self._head(writer)
            if writer not in heads and isinstance(latest, Head):
                continue  # it has only begun
            yield await self._check(writer, heads.get(writer), latest, batches[writer])

    async def _check(
        self,
        writer: str,
        head: Head | Damaged | None,
        latest: Head | Damaged,
        batches: dict[int, list[str]],
    ) -> Verdict:
        check = Verification(writer, self._key, head)
        for number, found in sorted(batches.items()):
            tenants = [(keys.audit_batch_parts(key) or ("",))[0] for key in found]
            read = zip(found, tenants, await self._all(found), strict=True)
            check.batch(number, [Part(*each) for each in read])
        known = latest if isinstance(latest, Head) else None
        findings = check.end(known)
        sealed = known is not None and known.sealed
        return Verdict(writer, check.events, findings, sealed, check.unvouched)

    async def _head(self, writer: str) -> Head | Damaged:
        try:
            value = await self._store.get(keys.audit_head(writer))
            return Head.read(value.data, self._key)
        except NotFound:
            return Damaged("it is missing")
        except Damaged as error:
            return error
