"""Mounting many blobs into a repository with one write, however many they are."""

from collections.abc import Collection, Iterable, Sequence
from functools import partial
from typing import Final

from registry.service.blobs import Blob, Blobs
from registry.service.bounded import each, results
from registry.service.entries import Entries
from registry.service.memberships import Memberships, member_name
from registry.service.mounts import Mounts, mounted
from registry.service.publishing import TRIES, too_slow
from registry.service.quotas.charges import Charge
from registry.service.quotas.quotas import Quotas
from registry.service.terms import Terms
from registry.spec.digest import Digest
from registry.spec.errors import BlobUnknown
from registry.spec.life import Life
from registry.spec.names import Place
from storage.ports import ObjectStore

_AT_ONCE: Final = 64


class Mounting:
    """Mounts all that an image needs."""

    def __init__(
        self,
        store: ObjectStore,
        entries: Entries,
        blobs: Blobs,
        mounts: Mounts,
        quotas: Quotas,
        terms: Terms,
    ) -> None:
        self._store = store
        self._blobs = blobs
        self._mounts = mounts
        self._quotas = quotas
        self._terms = terms
        self._members = Memberships(store, entries, terms)

    async def mount(
        self, repository: Place, digests: Iterable[Digest], source: Place, manifest: Digest
    ) -> None:
        """Make the repository hold those of the blobs that ``source`` holds, for the manifest.

        As ``Blobs.mount`` for each of them, at once; but one write for all that are not known to be
        there, unless they are more than one record takes. ``QuotaExceeded`` where they do not fit;
        where there are limits, each is looked at before, whether it counts already.
        """
        wanted = sorted(digests)
        async with self._quotas.charging(repository.tenant) as charge:
            for _ in range(TRIES):
                began = self._terms.pace()
                found = await self._found(source, wanted)
                names = {member_name(repository, blob.digest): blob for blob in found}
                write = partial(self._write, repository, source, manifest, charge)
                await self._blobs.members.made_all(names, write)
                if self._terms.pace() - began <= self._terms.patience:
                    return
        raise too_slow(manifest)

    async def _found(self, source: Place, digests: Collection[Digest]) -> list[Blob]:
        async def find(digest: Digest) -> Blob | None:
            try:
                return await self._blobs.find(source, digest)
            except BlobUnknown:
                return None  # that it is missing is for the manifest's push to say

        found = await results(digests, find, at_once=_AT_ONCE)
        return [blob for blob in found if blob is not None]

    async def _write(
        self,
        repository: Place,
        source: Place,
        manifest: Digest,
        charge: Charge,
        blobs: Sequence[Blob],
    ) -> None:
        size = await self._uncounted(repository, blobs) if charge.limited else 0
        digests = [blob.digest for blob in blobs]
        if await self._mounts.add(repository, digests, manifest, charge, size):
            return

        async def mount(digest: Digest) -> None:
            await self._blobs.mount(repository, digest, source)

        await each(digests, mount, at_once=_AT_ONCE)

    async def _uncounted(self, repository: Place, blobs: Sequence[Blob]) -> int:
        """The bytes of the blobs that do not count in the project yet."""
        # First: what has left the record is a member by then.
        counted = await mounted(self._store, repository)

        async def uncounted(blob: Blob) -> int:
            if blob.digest in counted:
                return 0
            member = await self._members.read(repository, blob.digest)
            return blob.size if member is None or member.life is Life.DELETING else 0

        return sum(await results(blobs, uncounted, at_once=_AT_ONCE))
