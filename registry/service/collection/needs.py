"""What manifests need: entries that the collector makes itself, of what was pushed since.

A push writes down that it pushes a manifest (``pushed/…``) before the manifest, and not what that
needs. Before the collector looks at blobs of a repository it reads the manifests that were pushed
there, enters what they need (``needed/…``), and strikes out that they were pushed. So each manifest
is read once, and only where something may be collected; and of each that is there the one or the
other tells.
"""

import asyncio
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import Final

from registry.service.bounded import each
from registry.service.collection.candidates import Candidates
from registry.service.deleted import kept
from registry.service.entries import Entries, mark, remove, value
from registry.service.listing import every_key
from registry.service.presence import stat
from registry.service.records import TagRecord
from registry.service.terms import Terms
from registry.spec.digest import Digest
from registry.spec.names import Place, Tag
from storage import keys
from storage.ports import ObjectStore, Stat

_AT_ONCE: Final = 8


@dataclass(frozen=True, slots=True)
class Known:
    """What is known, of a repository or of none: all that came up to ``as_of`` (Unix seconds).

    That is every need of what was pushed, and every repository that holds a blob. ``unread``: blobs
    whose entries were not made, since it was only looked. ``left``: manifests that are not there,
    and may be about to be pushed. ``mounted``: blobs that were mounted at once and were not made
    members, since it was only looked.
    """

    as_of: float
    unread: frozenset[Digest] = frozenset()
    left: frozenset[Digest] = frozenset()
    mounted: frozenset[Digest] = frozenset()


class Needs:
    """Enters what manifests need, once for each repository. Made anew for some candidates.

    With ``look`` it writes nothing.
    """

    def __init__(
        self,
        store: ObjectStore,
        entries: Entries,
        candidates: Candidates,
        terms: Terms,
        known: Known,
        *,
        look: bool = False,
    ) -> None:
        """``known`` is what is known of the holders of blobs, before anything is read."""
        self.known = known
        self._store = store
        self._entries = entries
        self._candidates = candidates
        self._terms = terms
        self._look = look
        self._of: dict[Place, Known] = {}
        self._locks: defaultdict[Place, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def of(self, place: Place) -> Known:
        """Read what was pushed to the repository, unless this has done so already.

        It may be broken off and repeated, and done by many at once. ``Corrupt`` for a manifest
        that can't be read: what it needs must not be guessed.
        """
        async with self._locks[place]:
            known = self._of.get(place)
            if known is None:
                known = self._of[place] = await self._read(place)
            return known

    async def _read(self, place: Place) -> Known:
        unread: set[Digest] = set()
        left: set[Digest] = set()

        async def enter(key: str) -> None:
            await self._enter(place, key, unread, left)

        await each(every_key(self._store, keys.all_pushed(place)), enter, at_once=_AT_ONCE)
        return replace(self.known, unread=frozenset(unread), left=frozenset(left))

    async def _enter(self, place: Place, key: str, unread: set[Digest], left: set[Digest]) -> None:
        """Enter what a manifest needs, and strike out that it was pushed.

        That is looked at before the manifest, and struck out at the version of the look: of a
        manifest that is pushed again it is written again. What leads to no manifest was left by a
        push that broke off, once it is older than half the grace: nothing else tells of what a push
        is about to store. A link is moved sooner, once no push is so slow: one that points its tag
        after all looks for the link, and writes it again.
        """
        began = self._terms.pace()
        seen = await stat(self._store, key)
        if seen is None:
            return
        digest, _ = keys.pushed_parts(key)
        stored = await kept(self._store, place, digest, self._terms.clock())
        age = self._terms.clock() - seen.modified
        if stored is None:
            if age < self._terms.grace / 2:
                left.add(digest)
            elif not self._look:
                await self._move(place, key, seen)
            return
        blobs = await stored.blobs()
        if self._look:
            unread |= blobs
            return
        entry = mark()
        await self._entries.put([(keys.needed(place, each) + digest, entry) for each in blobs])
        if self._terms.pace() - began > self._terms.patience:
            # It may have been deleted, and looked at, before its needs were entered.
            members, wait = sorted(blobs), self._terms.grace
            await self._candidates.add(place, manifest=digest, members=members, wait=wait)
        if age >= 2 * self._terms.patience:
            await self._move(place, key, seen)

    async def _move(self, place: Place, key: str, seen: Stat) -> None:
        """Strike out that it was pushed, once the link of its tag is elsewhere.

        Also where the manifest is gone: who deletes it still looks for a tag that leads to it.
        """
        digest, tag = keys.pushed_parts(key)
        if tag and await self._leads(place, Tag(tag), digest):
            await self._store.put(keys.tagged(place, digest) + tag, b"")
        await remove(self._store, key, seen.version)

    async def _leads(self, place: Place, tag: Tag, digest: Digest) -> bool:
        found = await value(self._store, keys.tag(place, tag))
        return found is not None and TagRecord.decode(found.data).target == digest
