"""Manifests: exact bytes under their digest, and all that hangs on them."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import msgspec

from auth.roles import Role
from registry.service.blobs import Blobs
from registry.service.bounded import good
from registry.service.catalog import Catalog, Seen
from registry.service.collection.candidates import Candidates
from registry.service.deleted import Deleted, linked
from registry.service.entries import Entries
from registry.service.hashing import beside
from registry.service.images import Image, Images, manifest_name
from registry.service.presence import exists
from registry.service.quotas.charges import Charge
from registry.service.quotas.quotas import Quotas
from registry.service.records import TagRecord
from registry.service.referrers import Descriptor, Referrers, fallback_tag
from registry.service.remembered import Remembered, stamps_of
from registry.service.stored import StoredManifest
from registry.service.tag_rules import Guard, Guards
from registry.service.tags import Tags, tag_name
from registry.service.terms import TERMS, Terms
from registry.spec import manifest as grammar
from registry.spec.conditions import ABSENT, Conditions
from registry.spec.digest import Digest
from registry.spec.errors import (
    DigestMismatch,
    ManifestUnknown,
    PreconditionFailed,
    QuotaExceeded,
)
from registry.spec.manifest import Manifest
from registry.spec.names import Place, Reference, Tag
from registry.spec.pagination import Page
from registry.spec.quota import Amounts
from registry.spec.tagrules import NO_PROJECT_RULES, NO_RULES
from storage import keys
from storage.coordination import Change, Coordinator
from storage.ports import ContentStore, NotFound

Step = Callable[[], Awaitable[None]]
"""Something that is done on the way."""


@dataclass(frozen=True, slots=True)
class Pushed:
    """What a push made: the digest, the media type, the subject that was processed, the blobs."""

    digest: Digest
    media_type: str
    subject: Digest | None
    blobs: Sequence[Digest] = ()


@dataclass(frozen=True, slots=True)
class Push:
    """A manifest to be stored. ``content_type`` is the header as it came.

    ``algorithm`` is that of its digest where the reference is a tag.
    """

    reference: Reference
    tags: Sequence[Tag]
    body: bytes
    content_type: str | None
    conditions: Conditions
    algorithm: str = "sha256"


class Manifests:
    """Reads, stores and deletes manifests."""

    def __init__(
        self,
        store: ContentStore,
        coordinator: Coordinator,
        blobs: Blobs,
        tags: Tags,
        referrers: Referrers,
        catalog: Catalog,
        entries: Entries,
        candidates: Candidates,
        quotas: Quotas,
        guards: Guards,
        *,
        memory: int,
        allow_sparse: bool,
        terms: Terms = TERMS,
    ) -> None:
        """Remember up to ``memory`` bytes; ``allow_sparse`` takes manifests that lack content.

        ``terms`` say how long what was deleted can be had back.
        """
        self._candidates = candidates
        self._quotas = quotas
        self._guards = guards
        self._terms = terms
        self.deleted = Deleted(store, candidates, terms)
        self._store = store
        self._coordinator = coordinator
        self._tags = tags
        self._referrers = referrers
        self._catalog = catalog
        self._images = Images(
            store,
            coordinator,
            blobs,
            tags,
            referrers,
            entries,
            self._size,
            terms,
            allow_sparse=allow_sparse,
        )
        self.contents: Remembered[StoredManifest] = Remembered(
            coordinator, memory, lambda stored: len(stored.data) + 300
        )

    async def get(self, repository: Place, reference: Reference) -> StoredManifest:
        """Return the manifest (end-3), the bytes exactly as they were pushed.

        ``ManifestUnknown`` if the repository has no such tag or manifest. What ``Accept`` says
        makes no difference: a client that only knows Docker's types still learns the digest.
        """
        if isinstance(reference, Digest):
            return await self._find(repository, reference)
        tag = tag_name(repository, reference)
        before = self._tags.records.peek(tag)
        if before is None:
            target = (await self._tags.resolve(repository, reference)).target
            return await self._find(repository, target)
        # Both stamps at once: through Redis that is one round trip instead of two.
        manifest = manifest_name(repository, before.digest)
        of_tag, of_manifest = await stamps_of(self._coordinator, tag, manifest)
        record = self._tags.records.find(tag, of_tag)
        if record is None:
            record = await self._tags.resolve_at(repository, reference, of_tag)
        if record.digest != before.digest:
            return await self._find(repository, record.target)
        stored = self.contents.find(manifest, of_manifest)
        if stored is None:
            target = record.target
            stored = await self.contents.use(
                manifest, of_manifest, lambda: self._load(repository, target)
            )
        return stored

    async def put(
        self,
        repository: Place,
        push: Push,
        by: str,
        role: Role | None = None,
        *,
        content: Step | None = None,
    ) -> Pushed:
        """Store a manifest, then point tags at it (end-7a, end-7b).

        Content first, names after it. ``ManifestBlobUnknown`` where the repository lacks what the
        manifest needs (a missing subject is fine); ``DigestMismatch`` where the bytes are not
        those of the reference; ``PreconditionFailed`` as for a tag; ``Denied`` where that points
        elsewhere and has to stay; ``QuotaExceeded`` where it does not fit into the project.
        Repeating it is harmless. ``content`` makes the repository have what the manifest needs,
        while the rest is looked at.
        """
        async with self._quotas.charging(repository.tenant) as charge:
            return await self._put(repository, push, by, role, charge, content)

    async def _put(
        self,
        repository: Place,
        push: Push,
        by: str,
        role: Role | None,
        charge: Charge,
        content: Step | None,
    ) -> Pushed:
        manifest, digest = await self._read(push)
        tags = list(push.tags) if isinstance(push.reference, Digest) else [push.reference]
        began, guard, seen = await self._looked(repository, push, manifest, role, content)
        await self._check_movable(repository, tags, digest, guard)
        image = Image(repository, digest, manifest, push.body, tags, guard, charge)
        await self._images.hold(image, known=seen.known)
        if tags:
            conditions = [
                push.conditions if tag == push.reference else Conditions() for tag in tags
            ]
            make = None if seen.known else partial(self._catalog.make, repository, charge)
            await self._images.store_tagged(image, conditions, by, began, make)
        else:
            if not seen.known:
                await self._catalog.make(repository, charge)
            await self._images.store(image, began)
        await self._list(image, seen)
        self._candidates.needed(repository, [each.digest for each in manifest.blobs])
        return Pushed(
            digest,
            manifest.media_type,
            manifest.subject.digest if manifest.subject else None,
            [each.digest for each in manifest.blobs],
        )

    async def _list(self, image: Image, seen: Seen) -> None:
        """See to it that the catalog lists the repository of an image that has been stored.

        Where the repository is deleted meanwhile, and the image with it, it does not stay there.
        ``QuotaExceeded`` where there is no room for it any more; then the image is deleted again.
        """
        repository = image.repository
        if await self._catalog.stood(repository, seen):
            return
        key = keys.manifest(repository, image.digest)
        if await exists(self._store, key):
            try:
                await self._catalog.make(repository, image.charge)
            except QuotaExceeded:
                with suppress(ManifestUnknown):
                    await self.delete(repository, image.digest, Conditions())
                raise
            if not await exists(self._store, key):
                await self._catalog.leave(repository, image.charge)

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
            stored = await self._load(repository, reference)
        except ManifestUnknown:
            if not await self._drop_tags(repository, reference, by, guard, gone=True):
                raise
            return
        manifest = await stored.parsed()
        await self._check_deletable(repository, reference, guard)
        began = self._terms.pace()
        await self.deleted.keep(repository, stored, manifest, by)
        await self._drop_tags(repository, reference, by, guard, gone=False)
        async with self._coordinator.change(manifest_name(repository, reference)) as change:
            if manifest.subject is not None:
                await self._referrers.remove(repository, manifest.subject.digest, reference)
            await self._remove(repository, reference, change)
        if self._terms.pace() - began > self._terms.patience:
            await self.deleted.note(repository, reference, manifest)
        await self._drop_tags(repository, reference, by, guard, gone=True)

    async def expire(self, repository: Place, digest: Digest, by: str) -> bool:
        """Delete a manifest that no tag leads to; return whether it was deleted.

        A push to a tag changes the manifest too. So while this is alone, none comes in between;
        else it looks for tags once more, and stores the manifest again where there is one.
        """
        try:
            stored = await self._load(repository, digest)
        except ManifestUnknown:
            return False
        parsed = await stored.parsed()
        began = self._terms.pace()
        await self.deleted.keep(repository, stored, parsed, by)
        async with self._coordinator.change(manifest_name(repository, digest)) as change:
            if await self.deleted.tags_of(repository, digest):
                return False
            if parsed.subject is not None:
                await self._referrers.remove(repository, parsed.subject.digest, digest)
            await self._remove(repository, digest, change)
        if self._terms.pace() - began > self._terms.patience:
            await self.deleted.note(repository, digest, parsed)
        if change.sole() or not await self.deleted.tags_of(repository, digest):
            return True
        await self.undelete(repository, digest, by)
        return False

    async def _remove(self, repository: Place, digest: Digest, change: Change) -> None:
        """Remove a manifest, and give back what it counted.

        Where another may have removed it too, that is left to the next count.
        """
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
        stored, tags = await self.deleted.find(repository, digest)
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
        await self._list(image, seen)
        await self.deleted.forget(repository, digest)
        return back

    async def reinstate(
        self,
        repository: Place,
        stored: StoredManifest,
        tags: Mapping[Tag, TagRecord | None],
        by: str,
    ) -> None:
        """Store a manifest that comes from a backup or another registry, and point tags at it.

        A tag that is not there gets its record, if there is one: by whom and when it was pushed,
        and where it pointed before. One that is there is moved, whatever the tag rules say.
        ``ManifestInvalid``; ``ManifestBlobUnknown`` where content is missing. May be repeated.
        """
        manifest = await stored.parsed()
        guard = Guard(NO_RULES, NO_PROJECT_RULES, repository, "")
        async with self._quotas.charging(repository.tenant) as charge:
            image = Image(
                repository, stored.digest, manifest, stored.data, list(tags), guard, charge
            )
            await self._images.hold(image, known=await self._catalog.knows(repository))
            seen = await self._catalog.enter(repository, charge)
            await self._images.store_whole(image)
            for tag, record in tags.items():
                standing = await self._tags.standing(repository, tag)
                await self._images.point(image, tag, by, Conditions(), standing, record)
            await self._list(image, seen)
        self._candidates.needed(repository, [each.digest for each in manifest.blobs])

    async def kept(self, repository: Place, digest: Digest) -> StoredManifest:
        """Return a manifest that is there, or that was deleted and can be had back.

        ``ManifestUnknown`` for any other.
        """
        try:
            return await self._find(repository, digest)
        except ManifestUnknown:
            stored, _ = await self.deleted.find(repository, digest)
            return stored

    async def referrers_of(
        self,
        repository: Place,
        subject: Digest,
        artifact_types: Sequence[str],
        page: Page,
    ) -> tuple[Sequence[Descriptor], str | None]:
        """Return a page of the subject's referrers and where the next one begins (end-12)."""
        fallback = await self._fallback(repository, subject)
        found = await self._referrers.page(repository, subject, artifact_types, page, fallback)
        return found.descriptors, found.last

    async def _find(self, repository: Place, digest: Digest) -> StoredManifest:
        return await self.contents.get(
            manifest_name(repository, digest), lambda: self._load(repository, digest)
        )

    async def _load(self, repository: Place, digest: Digest) -> StoredManifest:
        try:
            value = await self._store.get(keys.manifest(repository, digest))
        except NotFound:
            raise ManifestUnknown(digest) from None
        return StoredManifest.unpack(digest, value.data)

    async def _read(self, push: Push) -> tuple[Manifest, Digest]:
        def read() -> tuple[Manifest, Digest]:
            algorithm = push.algorithm
            if isinstance(push.reference, Digest):
                algorithm = push.reference.algorithm
            digest = Digest.of(push.body, algorithm)
            if isinstance(push.reference, Digest) and push.reference != digest:
                raise DigestMismatch(push.reference, digest)
            return grammar.parse(push.body, push.content_type), digest

        return await beside(len(push.body), read)

    async def _size(self, repository: Place, digest: Digest) -> int:
        return len((await self._find(repository, digest)).data)

    async def _looked(
        self,
        repository: Place,
        push: Push,
        manifest: Manifest,
        role: Role | None,
        content: Step | None,
    ) -> tuple[float, Guard, Seen]:
        """Look at all that may refuse a push, at once: what is not remembered takes one round.

        Return since when the content was looked at, the rules, and whether there is the repository.
        """

        async def check_content() -> float:
            if content is not None:
                await content()
            began = self._terms.pace()
            await self._images.check_content(repository, manifest)
            return began

        # All end, and of several failures it is always the same one that is told.
        looks = await asyncio.gather(
            check_content(),
            self._check_conditions(repository, push),
            self._guards.of(repository, role),
            self._catalog.look(repository),
            return_exceptions=True,
        )
        since, _, guard, seen = good(looks[0]), good(looks[1]), good(looks[2]), good(looks[3])
        return since, guard, seen

    async def _check_conditions(self, repository: Place, push: Push) -> None:
        """Refuse a swap that can't win before anything is stored; the swap itself decides."""
        if not push.conditions:
            return
        current: Digest | None
        try:
            if isinstance(push.reference, Digest):
                current = (await self._find(repository, push.reference)).digest
            else:
                current = (await self._tags.resolve(repository, push.reference)).target
        except ManifestUnknown:
            current = None
        if not push.conditions.check_write(current):
            raise PreconditionFailed(current)

    async def _check_movable(
        self, repository: Place, tags: Sequence[Tag], digest: Digest, guard: Guard
    ) -> None:
        """Refuse to move a tag that has to stay before anything is stored; the swap decides."""
        if not guard:
            return
        for tag in filter(guard.covers, tags):
            standing = self._tags.target(await self._tags.standing(repository, tag))
            if standing is not None and standing != digest:
                guard.check(tag)

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

    async def _fallback(self, repository: Place, subject: Digest) -> Mapping[Digest, Descriptor]:
        """What clients listed under the fallback tag; the repository may no longer have it."""
        try:
            stored = await self.get(repository, fallback_tag(subject))
        except ManifestUnknown:
            return {}
        index = await stored.parsed()
        return await stored.beside(
            lambda: {
                child.digest: msgspec.to_builtins(child, enc_hook=str) for child in index.manifests
            }
        )
