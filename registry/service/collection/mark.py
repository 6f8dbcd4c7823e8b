"""The full mark: goes over all that is stored, and finds what no event told of.

It deletes almost nothing itself. What it finds unneeded becomes a candidate, and the collector
looks at it again as at any other. Its cost grows with what is stored; that of collecting does not.
The first mark of a store that is older than the collector also writes down which blobs its
manifests need, without which nothing may be collected.
"""

import logging
from array import array
from bisect import bisect_left
from collections.abc import AsyncIterator
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

from registry.service.bounded import all_of
from registry.service.collection.candidates import BATCH, Candidates
from registry.service.collection.findings import NOWHERE, Done, Finding, Kind, Report, nobody
from registry.service.collection.needs import Known, Needs
from registry.service.entries import Entries, mark, value
from registry.service.history import Histories
from registry.service.listing import every_key
from registry.service.mounts import all_mounted
from registry.service.presence import exists
from registry.service.records import Corrupt, DeletedRecord, Pointer, Record
from registry.service.sessions import LIFETIME
from registry.service.settling import Settling
from registry.service.stored import StoredManifest
from registry.service.terms import Terms
from registry.spec.digest import Digest
from registry.spec.names import Place
from storage import keys
from storage.coordination import Coordinator
from storage.ports import ContentStore, NotFound

_log = logging.getLogger("moorage.collection")

LEASE: Final = "collector-mark"
_AT_ONCE: Final = 16


class MarkRecord(Record, frozen=True):
    """How far a full mark is: the last repository; ``since`` it was known that one is needed.

    ``reads``: collectors of this store read what was pushed; ``settles``: and settle what was
    mounted at once. A release that does not can't read this record then, and collects nothing.
    """

    since: float = 0.0
    after: str = ""
    reads: bool = False
    settles: bool = False


@dataclass(slots=True)
class Marked:
    """What a full mark went over, and what it found unneeded."""

    repositories: int = 0
    manifests: int = 0
    members: int = 0
    pointers: int = 0
    linked: int = 0
    candidates: int = 0
    data: int = 0


class Marker:
    """Makes full marks."""

    def __init__(
        self,
        store: ContentStore,
        coordinator: Coordinator,
        candidates: Candidates,
        terms: Terms,
        histories: Histories,
        *,
        exact: bool = True,
        report: Report = nobody,
    ) -> None:
        self._store = store
        self._histories = histories
        self._coordinator = coordinator
        self._candidates = candidates
        self._terms = terms
        self._entries = Entries(store, exact=exact)
        self._report = report
        self._settling = Settling(store, coordinator, self._entries, candidates, terms)
        self._cataloged = (NOWHERE, False)

    async def begin(self) -> bool:
        """Whether the collector may work; if not, see to it that it may at some time.

        A store with no repository needs no mark. One that has some was written to by a registry
        without a collector, which may still be at work while all replicas are replaced: the first
        mark is made one grace after this was first asked. Whoever calls ``mark`` need not wait.
        """
        await self.take_over()
        if await exists(self._store, keys.READ):
            return True
        if not await self._store.list(keys.CATALOG, limit=1):
            await self._store.put(keys.READ, b"")
            return True
        record = await self._record()
        if self._terms.clock() - record.since < self._terms.grace:
            return False
        await self.mark()
        return True

    async def take_over(self) -> None:
        """Keep replicas of releases before from collecting. Done before anything is pushed.

        They look for entries that pushes made of what manifests need, and these make none. What
        they entered stays good: a store that was linked needs no mark. One that was taken over may
        be linked again: by a mark of theirs that was under way, or since this broke off.
        """
        record = await self._record()
        if not (record.reads and record.settles):
            await self._store.put(keys.MARK, _mark(self._terms.clock()))
        if await exists(self._store, keys.LINKED):
            await self._store.put(keys.READ, b"")
            await self._store.delete(keys.LINKED)

    async def _record(self) -> MarkRecord:
        standing = await value(self._store, keys.MARK)
        return MarkRecord.decode(standing.data) if standing else MarkRecord()

    async def mark(self, *, look: bool = False) -> Marked:
        """Go over everything. With ``look`` nothing is written.

        One that was broken off goes on at the repository where it was.
        """
        marked = Marked()
        if look:
            await self._repositories(marked, MarkRecord(), look=True)
            await self._contents(marked, look=True)
            return marked
        await self.take_over()
        async with self._coordinator.hold(LEASE):
            record = await self._record()
            await self._settling.everything()
            await self._repositories(marked, record, look=False)
            await self._store.put(keys.READ, b"")
            await self._contents(marked, look=False)
            await self._store.put(keys.MARK, _mark())
        return marked

    async def _repositories(self, marked: Marked, record: MarkRecord, *, look: bool) -> None:
        async for key in every_key(self._store, keys.CATALOG, record.after):
            await self._repository(keys.catalog_place(key), marked, look=look)
            marked.repositories += 1
            if not look:
                await self._forget(keys.catalog_place(key))
                await self._store.put(keys.MARK, _mark(record.since, key))

    async def _forget(self, place: Place) -> None:
        """Forget what deleted tags were. Earlier releases entered nowhere when that is to be."""
        async for key in every_key(self._store, keys.histories(place)):
            try:
                await self._histories.prune(key)
            except Corrupt as error:  # it must not keep the mark
                _log.warning("what a deleted tag was can't be forgotten: %s", error)

    async def _repository(self, place: Place, marked: Marked, *, look: bool) -> None:
        """Write down what the manifests need; find blobs that none needs."""
        prefix = keys.all_needed(place)
        entered = set()
        async for key in every_key(self._store, prefix):
            blob, _, manifest = key[len(prefix) :].partition("/")
            entered.add((blob, manifest))
        needed: set[Digest] = set()
        manifests: set[str] = set()
        async for found in self._each(keys.manifests(place)):
            digest = Digest(keys.last_segment(found[0]))
            manifests.add(digest)
            blobs = await StoredManifest.unpack(digest, found[1]).blobs()
            needed |= blobs
            missing = [each for each in blobs if (each, digest) not in entered]
            marked.linked += len(missing)
            if missing and not look:
                entries = [(keys.needed(place, each) + digest, mark()) for each in missing]
                await self._entries.put(entries)
        marked.manifests += len(manifests)
        # What is left is struck out that pushes wrote which broke off.
        known = Known(self._terms.clock())
        needs = Needs(self._store, self._entries, self._candidates, self._terms, known, look=look)
        await needs.of(place)
        unneeded: list[str] = []
        prefix = keys.members_of(place)
        async for key in every_key(self._store, prefix):
            marked.members += 1
            if key[len(prefix) :] not in needed:
                unneeded.append(key[len(prefix) :])
        await self._found(marked, place, Kind.MEMBER, unneeded, look=look)
        await self._entries_left(marked, place, entered, manifests, look=look)

    async def _entries_left(
        self,
        marked: Marked,
        place: Place,
        entered: set[tuple[str, str]],
        manifests: set[str],
        *,
        look: bool,
    ) -> None:
        """Find entries of manifests that are not there, and can't be had back either."""
        kept: set[str] = set()
        async for key, stored in self._each(keys.all_deleted(place)):
            if DeletedRecord.unpack(stored)[0].until > self._terms.clock():
                kept.add(keys.last_segment(key))
            elif not look:
                await self._candidates.add(place, manifest=keys.last_segment(key))
        left: dict[str, list[str]] = {}
        for blob, manifest in entered:
            if manifest not in manifests and manifest not in kept:
                left.setdefault(manifest, []).append(blob)
        for manifest, blobs in left.items():
            marked.candidates += len(blobs)
            if not look:
                await self._candidates.add(place, manifest=manifest, members=blobs)

    async def _contents(self, marked: Marked, *, look: bool) -> None:
        """Find pointers that no repository holds, and bytes that no pointer names."""
        mounted = await all_mounted(self._store)
        named = array("Q")
        unheld: list[str] = []
        strays: dict[Place, list[str]] = {}
        async for key, stored in self._each(keys.POINTERS):
            marked.pointers += 1
            pointer = Pointer.unpack(stored)[0]
            if pointer.data:
                named.append(_hash(pointer.data))
            digest = keys.pointer_digest(key)
            if not (await self._is_held(digest, strays) or digest in mounted):
                unheld.append(digest)
            if sum(map(len, strays.values())) >= BATCH:
                await self._strays(marked, strays, look=look)
            if len(unheld) == BATCH:
                await self._found(marked, NOWHERE, Kind.BLOB, unheld, look=look)
                unheld = []
        await self._found(marked, NOWHERE, Kind.BLOB, unheld, look=look)
        await self._strays(marked, strays, look=look)
        await self._data(marked, array("Q", sorted(named)), look=look)

    async def _is_held(self, digest: Digest, strays: dict[Place, list[str]]) -> bool:
        """Whether a repository holds the blob; note what else there is to be looked at.

        Entries that lead to no member; repositories that never had a manifest: those are in no
        catalog, so what they hold is found here.
        """
        held = False
        async for key in every_key(self._store, keys.holders(digest)):
            place = keys.reference_place(key)
            if await exists(self._store, keys.blob(place, digest)):
                held = True
                if await self._is_cataloged(place):
                    continue
            strays.setdefault(place, []).append(digest)
        return held

    async def _is_cataloged(self, place: Place) -> bool:
        if self._cataloged[0] != place:
            self._cataloged = place, await exists(self._store, keys.catalog(place))
        return self._cataloged[1]

    async def _strays(self, marked: Marked, strays: dict[Place, list[str]], *, look: bool) -> None:
        for place, digests in strays.items():
            await self._found(marked, place, Kind.MEMBER, digests, look=look)
        strays.clear()

    async def _data(self, marked: Marked, named: "array[int]", *, look: bool) -> None:
        """Delete bytes whose session is over and which no pointer names.

        No open session is so old, and none can name them any more.
        """
        oldest = self._terms.clock() - LIFETIME - self._terms.grace
        async for key in every_key(self._store, keys.DATA):
            position = bisect_left(named, _hash(key))
            if position < len(named) and named[position] == _hash(key):
                continue
            try:
                stat = await self._store.stat(key)
            except NotFound:
                continue
            if stat.modified < oldest:
                marked.data += 1
                if not look:
                    await self._store.delete(key)
                reason = "no pointer names it, and its session is over"
                self._report(Finding(Kind.DATA, key, Done.REMOVED, reason, size=stat.size))

    async def _found(
        self, marked: Marked, place: Place, kind: Kind, digests: list[str], *, look: bool
    ) -> None:
        marked.candidates += len(digests)
        if look:
            reason = {
                Kind.MEMBER: "no manifest of the repository needs it",
                Kind.BLOB: "no repository holds it",
            }[kind]
            for digest in digests:
                self._report(Finding(kind, digest, Done.CONDEMNED, reason, place))
        elif digests and kind is Kind.MEMBER:
            await self._candidates.add(place, members=digests)
        elif digests:
            await self._candidates.add(place, pointers=digests)

    async def _each(self, prefix: str) -> AsyncIterator[tuple[str, bytes]]:
        """Yield every key below the prefix with what is stored there, read some at a time."""
        batch: list[str] = []

        async def read() -> AsyncIterator[tuple[str, bytes]]:
            values = await all_of(value(self._store, key) for key in batch)
            for key, found in zip(batch, values, strict=True):
                if found is not None:
                    yield key, found.data

        async for key in every_key(self._store, prefix):
            batch.append(key)
            if len(batch) == _AT_ONCE:
                async for item in read():
                    yield item
                batch.clear()
        async for item in read():
            yield item


def _mark(since: float = 0.0, after: str = "") -> bytes:
    return MarkRecord(since, after, reads=True, settles=True).encode()


def _hash(key: str) -> int:
    return int.from_bytes(blake2b(key.encode(), digest_size=8).digest())
