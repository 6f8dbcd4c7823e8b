"""Expiry: a manifest goes if no tag leads to it, whoever pushes one meanwhile."""

from registry.service.deleted import Deleted
from registry.service.deletions import Deletions
from registry.service.reinstatements import Reinstatements
from registry.service.stored import load, manifest_name
from registry.service.terms import Terms
from registry.spec.digest import Digest
from registry.spec.errors import ManifestUnknown
from registry.spec.names import Place
from storage.coordination import Coordinator
from storage.ports import ObjectStore


class Expiry:
    """Deletes manifests that no tag leads to; each can be had back for a while."""

    def __init__(
        self,
        store: ObjectStore,
        coordinator: Coordinator,
        deleted: Deleted,
        deletions: Deletions,
        reinstatements: Reinstatements,
        terms: Terms,
    ) -> None:
        self._store = store
        self._coordinator = coordinator
        self._deleted = deleted
        self._deletions = deletions
        self._reinstatements = reinstatements
        self._terms = terms

    async def expire(self, repository: Place, digest: Digest, by: str) -> bool:
        """Delete a manifest that no tag leads to; return whether it was deleted.

        A push to a tag changes the manifest too. So while this is alone, none comes in between;
        else it looks for tags once more, and stores the manifest again where there is one.
        """
        try:
            stored = await load(self._store, repository, digest)
        except ManifestUnknown:
            return False
        manifest = await stored.parsed()
        began = self._terms.pace()
        await self._deleted.keep(repository, stored, manifest, by)
        async with self._coordinator.change(manifest_name(repository, digest)) as change:
            if await self._deleted.tags_of(repository, digest):
                return False
            await self._deletions.remove(repository, digest, manifest, change)
        if self._terms.pace() - began > self._terms.patience:
            await self._deleted.note(repository, digest, manifest)
        if change.sole() or not await self._deleted.tags_of(repository, digest):
            return True
        await self._reinstatements.undelete(repository, digest, by)
        return False
