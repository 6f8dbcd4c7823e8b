"""Reinstatement: manifests that were deleted, or that come from elsewhere, with their tags."""

from collections.abc import Mapping, Sequence

from registry.service.catalog import Catalog
from registry.service.collection.candidates import Candidates
from registry.service.deleted import Deleted
from registry.service.enrolment import Enrolment
from registry.service.images import Image, Images, Looked
from registry.service.quotas.charges import Charge
from registry.service.quotas.quotas import Quotas
from registry.service.records import TagRecord
from registry.service.stored import StoredManifest
from registry.service.tag_rules import Guard, Guards
from registry.service.tags import Tags
from registry.service.terms import Terms
from registry.spec.conditions import ABSENT, Conditions
from registry.spec.digest import Digest
from registry.spec.errors import PreconditionFailed
from registry.spec.names import Place, Tag
from registry.spec.tagrules import NO_PROJECT_RULES, NO_RULES


class Reinstatements:
    """Stores manifests that nobody pushes just now, and points tags at them."""

    def __init__(
        self,
        images: Images,
        tags: Tags,
        catalog: Catalog,
        enrolment: Enrolment,
        deleted: Deleted,
        candidates: Candidates,
        quotas: Quotas,
        guards: Guards,
        terms: Terms,
    ) -> None:
        self._images = images
        self._tags = tags
        self._catalog = catalog
        self._enrolment = enrolment
        self._deleted = deleted
        self._candidates = candidates
        self._quotas = quotas
        self._guards = guards
        self._terms = terms

    async def undelete(self, repository: Place, digest: Digest, by: str) -> Sequence[Tag]:
        """Have a deleted manifest back, with its tags; return those that lead to it again.

        A tag that leads elsewhere by now stays where it is. ``ManifestUnknown`` where there is
        nothing to be had back any more; ``ManifestBlobUnknown`` where its content was deleted
        too; ``QuotaExceeded`` where there is no room for it any more. Repeating it is harmless.
        """
        async with self._quotas.charging(repository.tenant) as charge:
            return await self._undelete(repository, digest, by, charge)

    async def _undelete(
        self, repository: Place, digest: Digest, by: str, charge: Charge
    ) -> Sequence[Tag]:
        stored, tags = await self._deleted.find(repository, digest)
        manifest = await stored.parsed()
        # It moves no tag: the rules make no difference.
        guard = await self._guards.of(repository, None)
        image = Image(repository, digest, manifest, stored.data, tags, guard, charge)
        # Before the repository is listed for what can't be had back.
        await self._images.check_content(repository, manifest)
        await self._images.hold(image, known=await self._catalog.knows(repository))
        seen = await self._catalog.enter(repository, charge)
        await self._images.store_whole(image)
        back: list[Tag] = []
        for tag in tags:
            standing = await self._tags.standing(repository, tag)
            try:
                await self._images.point(image, tag, by, ABSENT, standing)
            except PreconditionFailed:
                if self._tags.target(await self._tags.standing(repository, tag)) != digest:
                    continue
            back.append(tag)
        await self._enrolment.confirm(image, seen)
        await self._deleted.forget(repository, digest)
        return back

    async def reinstate(
        self,
        repository: Place,
        stored: StoredManifest,
        tags: Mapping[Tag, TagRecord | None],
        by: str,
        looked: Looked | None = None,
    ) -> None:
        """Store a manifest that comes from a backup or another registry, and point tags at it.

        A tag that is not there gets its record, if there is one: by whom and when it was pushed,
        and where it pointed before. One that is there is moved, whatever the tag rules say.
        ``ManifestInvalid``; ``ManifestBlobUnknown`` where content is missing. May be repeated.
        Blobs that were ``looked`` at for this are not looked at again.
        """
        manifest = await stored.parsed()
        looked = looked or Looked(self._terms.pace())
        guard = Guard(NO_RULES, NO_PROJECT_RULES, repository, "")
        async with self._quotas.charging(repository.tenant) as charge:
            image = Image(
                repository, stored.digest, manifest, stored.data, list(tags), guard, charge
            )
            seen = await self._catalog.look(repository)
            await self._images.hold(image, known=seen.known)
            await self._images.check_content(repository, manifest, looked.sizes)
            if not seen.known:
                await self._catalog.make(repository, charge)
            await self._images.store(image, looked.since)
            for tag, record in tags.items():
                standing = await self._tags.standing(repository, tag)
                await self._images.point(image, tag, by, Conditions(), standing, record)
            await self._enrolment.confirm(image, seen)
        self._candidates.needed(repository, [each.digest for each in manifest.blobs])
