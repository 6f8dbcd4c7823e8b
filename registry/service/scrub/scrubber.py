"""The scrubber: goes over all content, bit by bit, and remembers how far it is.

A blob whose bytes are not what its digest says is put into quarantine: its pointer is hidden, so
that no client gets wrong bytes, and whoever pushes it again brings good ones. The bad bytes stay
until then. A manifest is taken out of its repository and kept aside. Where a second store has good
bytes, they take the place of the bad ones instead.
"""

import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import msgspec

from registry.service.collection.findings import NOWHERE
from registry.service.data_keys import fresh_data
from registry.service.entries import value
from registry.service.hashing import digest_of
from registry.service.listing import every_key
from registry.service.memberships import member_name
from registry.service.mounts import every_mounted
from registry.service.pointers import Pointers
from registry.service.records import Corrupt, Pointer, Record
from registry.service.scrub.contents import Second, damage
from registry.service.stored import StoredManifest, manifest_name
from registry.service.terms import Terms
from registry.service.throttle import Throttle
from registry.spec.digest import Digest
from registry.spec.life import Event, Life
from registry.spec.names import Place
from storage import keys
from storage.coordination import Coordinator
from storage.ports import ContentStore, NotFound, ObjectStore, PreconditionFailed, Unavailable

_log = logging.getLogger("moorage.scrub")

LEASE: Final = "scrub"

_SAVE: Final = 100
"""After so many things it is written down how far the scrubber is."""


class Found(StrEnum):
    """What came of one thing that was not right."""

    QUARANTINED = "quarantined"
    REPAIRED = "repaired"
    UNREADABLE = "unreadable"
    """It could not be read now; the next scrub looks again."""


@dataclass(frozen=True, slots=True)
class Damage:
    """One thing that was not right: a blob, or a manifest of a repository; what was wrong."""

    digest: Digest
    found: Found
    reason: str
    place: Place = NOWHERE


class Progress(Record, frozen=True):
    """How far a scrub is: the key that was last; and what the one before came to.

    Times are in Unix seconds, 0 for never.
    """

    began: float = 0.0
    after: str = ""
    looked: int = 0
    bytes: int = 0
    damaged: int = 0
    ended: float = 0.0


Told = Callable[[Damage], None]


async def progress_of(store: ObjectStore) -> Progress:
    """How far a scrub of the store is, and when the last one ended."""
    found = await value(store, keys.SCRUB)
    return Progress.decode(found.data) if found is not None else Progress()


class Scrubber:
    """Scrubs. One at a time: whoever has the lease."""

    def __init__(
        self,
        store: ContentStore,
        coordinator: Coordinator,
        terms: Terms,
        told: Told,
        *,
        per_second: float = 0.0,
        second: ContentStore | None = None,
        look: bool = False,
    ) -> None:
        """Read up to ``per_second`` bytes in a second (0: any number); tell of what is not right.

        With ``look`` nothing is changed, not even how far it is.
        """
        self._store = store
        self._coordinator = coordinator
        self._terms = terms
        self._told = told
        self._throttle = Throttle(per_second, burst=1.0)
        self._second = Second(second) if second is not None else None
        self._look = look
        self._pointers = Pointers(store, terms)

    async def progress(self) -> Progress:
        """How far it is, and when the last one ended."""
        return await progress_of(self._store)

    async def scrub(self, *, wait: float = 0.0) -> Progress:
        """Go over everything; one that was broken off goes on where it was.

        ``LeaseHeld`` where another is at it after ``wait`` seconds. Nothing that is wrong with one
        thing ends it.
        """
        if self._look:
            return await self._over(Progress(self._terms.clock()))
        async with self._coordinator.hold(LEASE, wait=wait):
            standing = await self.progress()
            if standing.ended or not standing.began:
                standing = Progress(self._terms.clock())
            done = await self._over(standing)
            done = msgspec.structs.replace(done, after="", ended=self._terms.clock())
            await self._store.put(keys.SCRUB, done.encode())
            return done

    async def _over(self, done: Progress) -> Progress:
        since = 0
        async for key in self._contents(done.after):
            size, wrong = await self._one(key)
            done = msgspec.structs.replace(
                done,
                after=key,
                looked=done.looked + 1,
                bytes=done.bytes + size,
                damaged=done.damaged + wrong,
            )
            since += 1
            if (since == _SAVE or wrong) and not self._look:
                since = 0
                await self._store.put(keys.SCRUB, done.encode())
        return done

    async def _contents(self, after: str) -> AsyncIterator[str]:
        """Yield the keys of all pointers, then those of all manifests, from ``after`` on."""
        first = ""
        if after.startswith(keys.REPOSITORIES):
            resumed = keys.manifest_place(after)
            first = keys.catalog(resumed)
            async for key in every_key(self._store, keys.manifests(resumed), after):
                yield key
        else:
            async for key in every_key(self._store, keys.POINTERS, after):
                yield key
        async for entry in every_key(self._store, keys.CATALOG, first):
            async for key in every_key(self._store, keys.manifests(keys.catalog_place(entry))):
                yield key

    async def _one(self, key: str) -> tuple[int, bool]:
        """Look at one thing; return its bytes, and whether something was wrong."""
        is_blob = key.startswith(keys.POINTERS)
        digest = keys.pointer_digest(key) if is_blob else Digest(keys.last_segment(key))
        try:
            if is_blob:
                return await self._blob(digest)
            return await self._manifest(keys.manifest_place(key), digest)
        except (Unavailable, Corrupt, PreconditionFailed) as error:
            self._tell(Damage(digest, Found.UNREADABLE, str(error)))
            return 0, True

    async def _blob(self, digest: Digest) -> tuple[int, bool]:
        try:
            found = await self._pointers.read(digest)
        except Corrupt as error:
            return await self._take_out(digest, str(error))
        if found is None or found[0].state is Life.DELETING:
            return 0, False
        pointer, content, version = found
        wrong = await self._damage(digest, pointer, content)
        if not wrong:
            return pointer.size, False
        what: Found | None = Found.QUARANTINED
        if not self._look:
            what = await self._mend(digest, pointer, content, version)
        if what is not None:
            self._tell(Damage(digest, what, wrong))
        return pointer.size, what is not None

    async def _damage(self, digest: Digest, pointer: Pointer, content: bytes) -> str:
        if pointer.state is Life.HIDDEN:
            return "it is in quarantine"
        wrong = ""
        # Twice, before it counts: it was right when it was pushed, and memory errs too.
        for _ in range(2):
            wrong = await damage(self._store, digest, pointer, content, self._throttle)
            if not wrong:
                break
        return wrong

    async def _mend(
        self, digest: Digest, pointer: Pointer, content: bytes, version: str
    ) -> Found | None:
        """Give the pointer good bytes if they can be had, else hide it.

        ``None`` where it was written or collected meanwhile.
        """
        good = await self._good(digest)
        if good is None and pointer.state is Life.HIDDEN:
            return Found.QUARANTINED
        async with self._changing(digest):
            if good is not None:
                swapped = await self._pointers.swap(digest, *good, version, Event.WRITE)
            else:
                swapped = await self._pointers.swap(digest, pointer, content, version, Event.HIDE)
        if good is None:
            return Found.QUARANTINED if swapped is not None else None
        left = pointer.data if swapped is not None else good[0].data
        if left:
            await self._store.delete(left)
        return Found.REPAIRED if swapped is not None else None

    async def _take_out(self, digest: Digest, wrong: str) -> tuple[int, bool]:
        """Keep a pointer that can't be read aside: then the blob is unknown, and can be pushed."""
        key = keys.pointer(digest)
        stored = await value(self._store, key)
        if stored is None:
            return 0, False
        if not self._look:
            await self._store.put(keys.damaged(NOWHERE, digest), stored.data)
            async with self._changing(digest):
                await self._store.delete(key, version=stored.version)
        self._tell(Damage(digest, Found.QUARANTINED, wrong))
        return len(stored.data), True

    async def _good(self, digest: Digest) -> tuple[Pointer, bytes] | None:
        """Have good bytes from the second store; where they are then, and those of a small blob."""
        if self._second is None:
            return None
        data = fresh_data()
        return await self._second.have(digest, self._store, data, self._throttle)

    @contextlib.asynccontextmanager
    async def _changing(self, digest: Digest) -> AsyncIterator[None]:
        """Change the pointer inside: no process goes on with what it remembers of the blob.

        Whatever the repository: there are as many changes at once as repositories that hold it.
        """
        async with contextlib.AsyncExitStack() as stack:
            async for place in self._holders(digest):
                name = member_name(place, digest)
                await stack.enter_async_context(self._coordinator.change(name))
            yield

    async def _holders(self, digest: Digest) -> AsyncIterator[Place]:
        """Yield each repository that holds the blob, once."""
        found = {place async for place, blobs in every_mounted(self._store) if digest in blobs}
        async for key in every_key(self._store, keys.holders(digest)):
            found.discard(keys.reference_place(key))
            yield keys.reference_place(key)
        for place in found:
            yield place

    async def _manifest(self, place: Place, digest: Digest) -> tuple[int, bool]:
        key = keys.manifest(place, digest)
        found = await value(self._store, key)
        if found is None:
            return 0, False
        await self._throttle.wait(len(found.data))
        wrong = await _wrong(digest, found.data)
        if not wrong:
            return len(found.data), False
        if self._look:
            self._tell(Damage(digest, Found.QUARANTINED, wrong, place))
            return len(found.data), True
        good = await self._second.value(key) if self._second is not None else None
        repaired = good is not None and not await _wrong(digest, good)
        try:
            async with self._coordinator.change(manifest_name(place, digest)):
                if repaired and good is not None:
                    await self._store.replace(key, good, found.version)
                else:
                    await self._store.put(keys.damaged(place, digest), found.data)
                    await self._store.delete(key, version=found.version)
        except (PreconditionFailed, NotFound):
            return len(found.data), False
        what = Found.REPAIRED if repaired else Found.QUARANTINED
        self._tell(Damage(digest, what, wrong, place))
        return len(found.data), True

    def _tell(self, what: Damage) -> None:
        _log.error(
            "%s %s%s: %s",
            what.found,
            what.digest,
            f" of {what.place}" if what.place else "",
            what.reason,
        )
        self._told(what)


async def _wrong(digest: Digest, stored: bytes) -> str:
    try:
        manifest = StoredManifest.unpack(digest, stored)
    except ValueError:
        return "it is no manifest"
    found = await digest_of(manifest.data, digest.algorithm)
    return "" if found == digest else f"its bytes are those of {found}"
