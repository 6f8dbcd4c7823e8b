"""Manifests: exact bytes under their digest, pushed and pulled."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import msgspec

from auth.roles import Role
from registry.service.blobs import Blobs
from registry.service.bounded import good
from registry.service.catalog import Catalog, Seen
from registry.service.collection.candidates import Candidates
from registry.service.deleted import Deleted
from registry.service.enrolment import Enrolment
from registry.service.entries import Entries
from registry.service.hashing import beside
from registry.service.images import Image, Images
from registry.service.quotas.charges import Charge
from registry.service.quotas.quotas import Quotas
from registry.service.referrers import Descriptor, Referrers, fallback_tag
from registry.service.remembered import Remembered, stamps_of
from registry.service.stored import StoredManifest, load, manifest_name
from registry.service.tag_rules import Guard, Guards
from registry.service.tags import Tags, tag_name
from registry.service.terms import TERMS, Terms
from registry.spec import manifest as grammar
from registry.spec.conditions import Conditions
from registry.spec.digest import Digest
from registry.spec.errors import DigestMismatch, ManifestUnknown, PreconditionFailed
from registry.spec.manifest import Manifest
from registry.spec.names import Place, Reference, Tag
from registry.spec.pagination import Page
from storage.coordination import Coordinator
from storage.ports import ContentStore

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
    """Stores and reads manifests."""

    def __init__(
        self,
        store: ContentStore,
        coordinator: Coordinator,
        blobs: Blobs,
        tags: Tags,
        referrers: Referrers,
        catalog: Catalog,
        entries: Entries,
        enrolment: Enrolment,
        deleted: Deleted,
        candidates: Candidates,
        quotas: Quotas,
        guards: Guards,
        *,
        memory: int,
        allow_sparse: bool,
        terms: Terms = TERMS,
    ) -> None:
        """Remember up to ``memory`` bytes; ``allow_sparse`` takes manifests that lack content."""
        self._candidates = candidates
        self._quotas = quotas
        self._guards = guards
        self._terms = terms
        self._deleted = deleted
        self._store = store
        self._coordinator = coordinator
        self._tags = tags
        self._referrers = referrers
        self._catalog = catalog
        self._enrolment = enrolment
        self.images = Images(
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
                manifest, of_manifest, lambda: load(self._store, repository, target)
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
        await self.images.hold(image, known=seen.known)
        if tags:
            conditions = [
                push.conditions if tag == push.reference else Conditions() for tag in tags
            ]
            make = None if seen.known else partial(self._catalog.make, repository, charge)
            await self.images.store_tagged(image, conditions, by, began, make)
        else:
            if not seen.known:
                await self._catalog.make(repository, charge)
            await self.images.store(image, began)
        await self._enrolment.confirm(image, seen)
        self._candidates.needed(repository, [each.digest for each in manifest.blobs])
        return Pushed(
            digest,
            manifest.media_type,
            manifest.subject.digest if manifest.subject else None,
            [each.digest for each in manifest.blobs],
        )

    async def kept(self, repository: Place, digest: Digest) -> StoredManifest:
        """Return a manifest that is there, or that was deleted and can be had back.

        ``ManifestUnknown`` for any other.
        """
        try:
            return await self._find(repository, digest)
        except ManifestUnknown:
            stored, _ = await self._deleted.find(repository, digest)
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
            manifest_name(repository, digest), lambda: load(self._store, repository, digest)
        )

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
            await self.images.check_content(repository, manifest)
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
