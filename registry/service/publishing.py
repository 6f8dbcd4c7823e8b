"""Publishing: verified bytes get their name, and a repository holds them."""

from functools import partial

from registry.service.bounded import both
from registry.service.collection.candidates import Candidates
from registry.service.entries import Entries
from registry.service.memberships import Memberships
from registry.service.pointers import ContentGone, Pointers
from registry.service.quotas.charges import NO_CHARGE, Charge
from registry.service.records import Pointer
from registry.service.terms import Terms
from registry.spec.digest import Digest
from registry.spec.life import Life
from registry.spec.names import Place
from registry.spec.quota import Amounts
from storage import keys
from storage.ports import AlreadyExists, ContentStore, Items, Unavailable

TRIES = 5
"""How often what took longer than the patience is done."""


class Publishing:
    """Writes pointers and memberships, so that the collector sees each in time."""

    def __init__(
        self,
        store: ContentStore,
        entries: Entries,
        candidates: Candidates,
        members: Memberships,
        pointers: Pointers,
        terms: Terms,
    ) -> None:
        self._store = store
        self._entries = entries
        self._candidates = candidates
        self._members = members
        self._pointers = pointers
        self._terms = terms

    async def publish(
        self,
        repository: Place,
        digest: Digest,
        pointer: Pointer,
        content: bytes = b"",
        charge: Charge = NO_CHARGE,
    ) -> Pointer:
        """Make the repository hold the blob, if ``charge`` has room; return its pointer.

        What takes longer than the patience is done again, since the collector may have looked
        meanwhile. Then the bytes have had a name for so long that they may have been collected
        with it: they are not given another.
        """
        for attempt in range(TRIES):
            began = self._terms.pace()
            make = attempt == 0 or not pointer.data
            standing = await self._name(repository, digest, pointer, content, charge, make=make)
            if self._terms.pace() - began <= self._terms.patience:
                self._candidates.note(repository, digest)
                return standing
        raise too_slow(digest)

    async def _name(
        self,
        repository: Place,
        digest: Digest,
        pointer: Pointer,
        content: bytes,
        charge: Charge,
        *,
        make: bool,
    ) -> Pointer:
        """Reverse membership and pointer first, membership after both.

        A crash in between leaves garbage, never a dangling name, nor a member that the pointer's
        collection can't see. Where there is a pointer already, it is looked at while the membership
        is written: what others have must not show in the time that this takes. Where the look finds
        that it is to go, the membership is written again when it stands.
        """
        key, packed = keys.pointer(digest), pointer.pack(content)
        references, members = self._members.written(repository, digest)
        join = partial(self._join, repository, digest, pointer.size, charge, members)
        standing: Pointer | None
        while True:
            if make:
                try:
                    if not self._entries.exact:
                        await self._create(key, packed, references)
                    else:
                        # What had no pointer is no member either, so it counts.
                        async with charge.storing(Amounts(bytes=pointer.size)) as storing:
                            with storing.unless_there():
                                await self._store.create(
                                    key, packed, beside=references, then=members
                                )
                        return pointer
                    standing = pointer
                except AlreadyExists:
                    found, _ = await both(self._pointers.read(digest), join())
                    if found is not None and found[0].state is Life.LIVE:
                        return found[0]
                    standing = await self._pointers.take(digest, pointer, content)
            else:
                await self._entries.put(references)
                standing = await self._pointers.take(digest, pointer, content, make=False)
            if standing is not None:
                await join()
                return standing
            if not make:
                raise ContentGone

    async def _create(self, key: str, packed: bytes, references: Items) -> None:
        """As ``create(key, packed, beside=references)``, where entries can't be put beside."""
        await both(self._entries.put(references), self._store.create(key, packed))

    async def _join(
        self, repository: Place, digest: Digest, size: int, charge: Charge, members: Items
    ) -> None:
        if charge.limited:
            await self._members.join(repository, digest, size, charge)
        else:
            await self._entries.put(members)


def too_slow(digest: Digest) -> Unavailable:
    """What is told where the store took too long for an answer to be a promise."""
    return Unavailable(keys.pointer(digest), "the store is too slow to answer safely; try again")
