"""Deletion of tags, and of manifests with all that names them."""

from auth.roles import Role
from registry.service.deleted import Deleted, linked
from registry.service.quotas.quotas import Quotas
from registry.service.referrers import Referrers
from registry.service.stored import load, manifest_name
from registry.service.tag_rules import Guard, Guards
from registry.service.tags import Tags
from registry.service.terms import Terms
from registry.spec.conditions import Conditions
from registry.spec.digest import Digest
from registry.spec.errors import ManifestUnknown, PreconditionFailed
from registry.spec.manifest import Manifest
from registry.spec.names import Place, Reference
from registry.spec.quota import Amounts
from storage import keys
from storage.coordination import Change, Coordinator
from storage.ports import NotFound, ObjectStore


class Deletions:
    """Deletes manifests and tags, each kept for a while (``Deleted``)."""

    def __init__(
        self,
        store: ObjectStore,
        coordinator: Coordinator,
        tags: Tags,
        referrers: Referrers,
        deleted: Deleted,
        quotas: Quotas,
        guards: Guards,
        terms: Terms,
    ) -> None:
        self._store = store
        self._coordinator = coordinator
        self._tags = tags
        self._referrers = referrers
        self._deleted = deleted
        self._quotas = quotas
        self._guards = guards
        self._terms = terms

    async def delete(
        self,
        repository: Place,
        reference: Reference,
        conditions: Conditions,
        by: str = "",
        role: Role | None = None,
    ) -> None:
        """Delete a tag, or a manifest with all its tags (end-9). ``ManifestUnknown`` if absent.

        ``Denied`` for a tag that has to stay, whoever has this role in the project asks, and for
        a manifest that one points at.

        What names the manifest goes first, so that a deletion that breaks off leaves no name
        behind that leads nowhere, and can be repeated. Then the manifest goes, and the links to it
        are listed once more: a tag that was pushed meanwhile goes too, or its push looks for the
        manifest later than that, finds it gone, and stores it again. Before all that it is written
        down what goes, so that it can be had back (``Deleted``), and the collector looks at it.
        """
        guard = await self._guards.of(repository, role)
        if not isinstance(reference, Digest):
            await self._tags.delete(repository, reference, conditions, by, guard)
            return
        if not conditions.check_write(reference):
            raise PreconditionFailed(reference)
        try:
            stored = await load(self._store, repository, reference)
        except ManifestUnknown:
            if not await self._drop_tags(repository, reference, by, guard, gone=True):
                raise
            return
        manifest = await stored.parsed()
        await self._check_deletable(repository, reference, guard)
        began = self._terms.pace()
        await self._deleted.keep(repository, stored, manifest, by)
        await self._drop_tags(repository, reference, by, guard, gone=False)
        async with self._coordinator.change(manifest_name(repository, reference)) as change:
            await self.remove(repository, reference, manifest, change)
        if self._terms.pace() - began > self._terms.patience:
            await self._deleted.note(repository, reference, manifest)
        await self._drop_tags(repository, reference, by, guard, gone=True)

    async def remove(
        self, repository: Place, digest: Digest, manifest: Manifest, change: Change
    ) -> None:
        """Remove a manifest within a change of it, first as a referrer; give back what it counted.

        A missing one is no error. Where another may have removed it too, what it counted is left to
        the next count.
        """
        if manifest.subject is not None:
            await self._referrers.remove(repository, manifest.subject.digest, digest)
        key = keys.manifest(repository, digest)
        async with self._quotas.charging(repository.tenant) as charge:
            if not charge.limited:
                await self._store.delete(key)
                return
            seen = await charge.round()
            try:
                size = (await self._store.stat(key)).size
            except NotFound:
                return
            await self._store.delete(key)
            if change.sole():
                charge.removed(Amounts(bytes=size), seen)

    async def _check_deletable(self, repository: Place, digest: Digest, guard: Guard) -> None:
        """Refuse to delete what a tag points at that has to stay, before anything goes."""
        if not guard:
            return
        async for tag in linked(self._store, repository, digest):
            if not guard.covers(tag):
                continue
            if self._tags.target(await self._tags.standing(repository, tag)) == digest:
                guard.check(tag)

    async def _drop_tags(
        self, repository: Place, digest: Digest, by: str, guard: Guard, *, gone: bool
    ) -> bool:
        """Delete the tags that point at the manifest; return whether there were any."""
        found = False
        async for tag in linked(self._store, repository, digest):
            found |= await self._tags.drop(repository, tag, digest, by, guard, gone=gone)
        return found
