"""Settling: what was mounted into a repository at once is made members of it, one by one.

The collector does so before it looks at anything, and so does who is about to delete a blob: what
decides about members finds all of them. Clients need not wait for it.
"""

from typing import Final

from registry.service.bounded import each
from registry.service.collection.candidates import Candidates
from registry.service.entries import Entries, remove, value
from registry.service.listing import every_key
from registry.service.memberships import Memberships
from registry.service.mounts import mounted, mounts_name
from registry.service.presence import exists
from registry.service.records import MountRecord
from registry.service.terms import Terms
from registry.service.throttle import resting
from registry.spec.digest import Digest
from registry.spec.names import Place
from storage import keys
from storage.coordination import Coordinator
from storage.ports import ObjectStore, PreconditionFailed

_ROUNDS: Final = 50
_AT_ONCE: Final = 4


class Settling:
    """Settles repositories. Any number may settle the same one."""

    def __init__(
        self,
        store: ObjectStore,
        coordinator: Coordinator,
        entries: Entries,
        candidates: Candidates,
        terms: Terms,
    ) -> None:
        self._store = store
        self._coordinator = coordinator
        self._candidates = candidates
        self._terms = terms
        self._members = Memberships(store, entries, terms)

    async def everything(self) -> None:
        """Settle each repository of which there is a record when this begins."""
        async for key in every_key(self._store, keys.MOUNTS):
            await self.settle(keys.mounted_place(key))

    async def settle(self, place: Place) -> None:
        """Make members of what is in the repository's record, and then remove that.

        It may be broken off and repeated. One that comes late makes no member of what was deleted
        meanwhile: who deletes it has removed the record before.
        """
        key = keys.mounted(place)
        for _ in range(_ROUNDS):
            found = await value(self._store, key)
            if found is None:
                return
            record = MountRecord.decode(found.data)
            await self._tell(place, record)
            await self._enter(place, record)
            async with self._coordinator.change(mounts_name(place)):
                if await remove(self._store, key, found.version):
                    return
        raise PreconditionFailed(key)

    async def _enter(self, place: Place, record: MountRecord) -> None:
        async def enter(name: str) -> None:
            digest = Digest(name)

            async def stands() -> bool:
                return digest in await mounted(self._store, place)

            async with resting():
                await self._members.settle(place, digest, stands)

        await each(record.blobs, enter, at_once=_AT_ONCE)

    async def _tell(self, place: Place, record: MountRecord) -> None:
        """Tell the collector of the blobs, where a manifest that they came for is not there.

        What brought them broke off then, or is under way, or it was deleted.
        """
        for manifest in record.manifests:
            if not await exists(self._store, keys.manifest(place, Digest(manifest))):
                await self._candidates.add(place, members=record.blobs, wait=self._terms.grace)
                return
