"""Manifests: exact bytes under their digest, and all that hangs on them."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from registry.service.blobs import Blobs
from registry.service.catalog import Catalog
from registry.service.collection.candidates import Candidates
from registry.service.deleted import Deleted
from registry.service.entries import Entries, mark
from registry.service.listing import every_key
from registry.service.presence import exists
from registry.service.referrers import Descriptor, Referrers, fallback_tag
from registry.service.remembered import Remembered, stamps_of
from registry.service.stored import StoredManifest
from registry.service.tags import Tags, Target, tag_name
from registry.service.terms import TERMS, Terms
from registry.spec import manifest as grammar
from registry.spec.conditions import Conditions, EntityTags
from registry.spec.digest import Digest
from registry.spec.errors import (
    BlobUnknown,
    DigestMismatch,
    ManifestBlobUnknown,
    ManifestInvalid,
    ManifestUnknown,
    PreconditionFailed,
)
from registry.spec.manifest import Descriptor as Content
from registry.spec.manifest import Manifest
from registry.spec.names import Place, Reference, Tag
from registry.spec.pagination import Page
from storage import keys
from storage.coordination import Coordinator
from storage.ports import ContentStore, NotFound, Unavailable, Value

_CHECKS = 16
_TRIES = 5
_ABSENT = Conditions(if_none_match=EntityTags(anything=True))
_Sizes = Callable[[Place, Digest], Awaitable[int]]
_INLINE = 64 * 1024


@dataclass(frozen=True, slots=True)
class Pushed:
    """What a push made: the digest, and the subject that was processed."""

    digest: Digest
    subject: Digest | None


@dataclass(frozen=True, slots=True)
class Push:
    """A manifest to be stored. ``content_type`` is the header as it came."""

    reference: Reference
    tags: Sequence[Tag]
    body: bytes
    content_type: str | None
    conditions: Conditions


@dataclass(frozen=True, slots=True)
class _Image:
    """A manifest that is to be stored in a repository, and the tags that are to lead to it."""

    repository: Place
    digest: Digest
    manifest: Manifest
    body: bytes
    tags: Sequence[Tag]

    def needs(self) -> list[tuple[str, bytes]]:
        """Entries that tell which blobs it needs."""
        digests = {each.digest for each in self.manifest.blobs}
        entry = mark()
        return [(keys.needed(self.repository, each) + self.digest, entry) for each in digests]

    def content(self) -> list[tuple[str, bytes]]:
        """The manifest itself, and links of the tags."""
        stored = self.manifest.media_type.encode() + b"\n" + self.body
        links = keys.tagged(self.repository, self.digest)
        return [
            (keys.manifest(self.repository, self.digest), stored),
            *((links + tag, b"") for tag in self.tags),
        ]


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
        *,
        memory: int,
        allow_sparse: bool,
        terms: Terms = TERMS,
    ) -> None:
        """Remember up to ``memory`` bytes; ``allow_sparse`` takes manifests that lack content.

        ``terms`` say how long what was deleted can be had back.
        """
        self._entries = entries
        self._candidates = candidates
        self._terms = terms
        self.deleted = Deleted(store, candidates, terms)
        self._store = store
        self._coordinator = coordinator
        self._blobs = blobs
        self._tags = tags
        self._referrers = referrers
        self._catalog = catalog
        self._allow_sparse = allow_sparse
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
        expected = self._tags.peek(repository, reference)
        if expected is None:
            record = await self._tags.resolve(repository, reference)
            return await self._find(repository, record.target)
        # Both stamps at once: through Redis that is one round trip instead of two.
        names = tag_name(repository, reference), _name(repository, expected)
        of_tag, of_manifest = await stamps_of(self._coordinator, *names)
        record = await self._tags.resolve_at(repository, reference, of_tag)
        if record.target != expected:
            return await self._find(repository, record.target)
        return await self.contents.use(
            names[1], of_manifest, lambda: self._load(repository, expected)
        )

    async def put(self, repository: Place, push: Push, by: str) -> Pushed:
        """Store a manifest, then point tags at it (end-7a, end-7b).

        Content first, names after it. ``ManifestBlobUnknown`` where the repository lacks what the
        manifest needs (a missing subject is fine); ``DigestMismatch`` where the bytes are not
        those of the reference; ``PreconditionFailed`` as for a tag; ``Denied`` where that is
        immutable and points elsewhere. Repeating it is harmless.
        """
        manifest, digest = await self._read(push)
        tags = list(push.tags) if isinstance(push.reference, Digest) else [push.reference]
        began = self._terms.pace()
        await self._check_content(repository, manifest)
        if push.conditions:
            await self._check_conditions(repository, push)
        await self._check_immutable(repository, tags, digest)
        await self._catalog.enter(repository)
        image = _Image(repository, digest, manifest, push.body, tags)
        _, *standing = await asyncio.gather(
            # what is written later makes it last, too
            self._write(image, settled=not tags),
            *(self._tags.standing(repository, tag) for tag in tags),
        )
        if self._terms.pace() - began > self._terms.patience:
            await self._store_whole(image)
        target = Target(digest, manifest.media_type, len(push.body))
        for tag, value in zip(tags, standing, strict=True):
            conditions = push.conditions if tag == push.reference else Conditions()
            await self._point(image, tag, target, by, conditions, value)
        self._candidates.needed(repository, [each.digest for each in manifest.blobs])
        return Pushed(digest, manifest.subject.digest if manifest.subject else None)

    async def delete(
        self, repository: Place, reference: Reference, conditions: Conditions, by: str = ""
    ) -> None:
        """Delete a tag, or a manifest with all its tags (end-9). ``ManifestUnknown`` if absent.

        ``Denied`` for an immutable tag, and for a manifest that one points at.

        What names the manifest goes first, so that a deletion that breaks off leaves no name
        behind that leads nowhere, and can be repeated. Then the manifest goes, and the links to it
        are listed once more: a tag that was pushed meanwhile goes too, or its push looks for the
        manifest later than that, finds it gone, and stores it again. Before all that it is written
        down what goes, so that it can be had back (``Deleted``), and the collector looks at it.
        """
        if not isinstance(reference, Digest):
            await self._tags.delete(repository, reference, conditions)
            return
        if not conditions.check_write(reference):
            raise PreconditionFailed(reference)
        try:
            stored = await self._load(repository, reference)
        except ManifestUnknown:
            if not await self._drop_tags(repository, reference, gone=True):
                raise
            return
        manifest = await asyncio.to_thread(grammar.parse, stored.data, stored.media_type)
        await self._check_deletable(repository, reference)
        began = self._terms.pace()
        await self.deleted.keep(repository, stored, manifest, by)
        await self._drop_tags(repository, reference, gone=False)
        async with self._coordinator.change(_name(repository, reference)):
            if manifest.subject is not None:
                await self._referrers.remove(repository, manifest.subject.digest, reference)
            await self._store.delete(keys.manifest(repository, reference))
        if self._terms.pace() - began > self._terms.patience:
            await self.deleted.note(repository, reference, manifest)
        await self._drop_tags(repository, reference, gone=True)

    async def undelete(self, repository: Place, digest: Digest, by: str) -> Sequence[Tag]:
        """Have a deleted manifest back, with its tags; return those that lead to it again.

        A tag that leads elsewhere by now stays where it is. ``ManifestUnknown`` where there is
        nothing to be had back any more; ``ManifestBlobUnknown`` where its content was deleted
        too. Repeating it is harmless.
        """
        stored, tags = await self.deleted.find(repository, digest)
        manifest = await asyncio.to_thread(grammar.parse, stored.data, stored.media_type)
        image = _Image(repository, digest, manifest, stored.data, tags)
        await self._catalog.enter(repository)
        await self._store_whole(image)
        target = Target(digest, manifest.media_type, len(stored.data))
        back: list[Tag] = []
        for tag in tags:
            standing = await self._tags.standing(repository, tag)
            try:
                await self._point(image, tag, target, by, _ABSENT, standing)
            except PreconditionFailed:
                if self._tags.target(await self._tags.standing(repository, tag)) != digest:
                    continue
            back.append(tag)
        await self.deleted.forget(repository, digest)
        return back

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
            _name(repository, digest), lambda: self._load(repository, digest)
        )

    async def _load(self, repository: Place, digest: Digest) -> StoredManifest:
        try:
            value = await self._store.get(keys.manifest(repository, digest))
        except NotFound:
            raise ManifestUnknown(digest) from None
        return StoredManifest.unpack(digest, value.data)

    async def _read(self, push: Push) -> tuple[Manifest, Digest]:
        def read() -> tuple[Manifest, Digest]:
            algorithm = push.reference.algorithm if isinstance(push.reference, Digest) else "sha256"
            digest = Digest.of(push.body, algorithm)
            if isinstance(push.reference, Digest) and push.reference != digest:
                raise DigestMismatch(push.reference, digest)
            return grammar.parse(push.body, push.content_type), digest

        return read() if len(push.body) <= _INLINE else await asyncio.to_thread(read)

    async def _check_content(self, repository: Place, manifest: Manifest) -> None:
        """Refuse a manifest whose content is missing, or is not of the size that it says.

        Clients allocate and verify by that size: such an image could be pushed, never pulled.
        """
        gate = asyncio.Semaphore(_CHECKS)

        async def size_of(descriptor: Content, read: _Sizes) -> int | None:
            async with gate:
                try:
                    return await read(repository, descriptor.digest)
                except (BlobUnknown, ManifestUnknown):
                    return None

        wanted = [*manifest.blobs, *manifest.manifests]
        sizes = await asyncio.gather(
            *(size_of(blob, self._blob_size) for blob in manifest.blobs),
            *(size_of(child, self._manifest_size) for child in manifest.manifests),
        )
        missing = {
            descriptor.digest
            for descriptor, size in zip(wanted, sizes, strict=True)
            if size is None
        }
        if missing and not self._allow_sparse:
            raise ManifestBlobUnknown(sorted(missing))
        for descriptor, size in zip(wanted, sizes, strict=True):
            if size is not None and size != descriptor.size:
                raise ManifestInvalid(
                    f"the manifest says that {descriptor.digest} has {descriptor.size} bytes, "
                    f"but it has {size}: correct the descriptor"
                )

    async def _blob_size(self, repository: Place, digest: Digest) -> int:
        return (await self._blobs.find(repository, digest)).size

    async def _manifest_size(self, repository: Place, digest: Digest) -> int:
        return len((await self._find(repository, digest)).data)

    async def _check_conditions(self, repository: Place, push: Push) -> None:
        """Refuse a swap that can't win before anything is stored; the swap itself decides."""
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

    async def _check_immutable(
        self, repository: Place, tags: Sequence[Tag], digest: Digest
    ) -> None:
        """Refuse to move an immutable tag before anything is stored; the swap itself decides."""
        for tag in tags:
            if not self._tags.rules.immutable(tag):
                continue
            standing = self._tags.target(await self._tags.standing(repository, tag))
            if standing is not None and standing != digest:
                self._tags.check_movable(tag)

    async def _check_deletable(self, repository: Place, digest: Digest) -> None:
        """Refuse to delete what an immutable tag points at, before anything goes."""
        if not self._tags.rules:
            return
        prefix = keys.tagged(repository, digest)
        async for key in every_key(self._store, prefix):
            tag = Tag(key[len(prefix) :])
            if not self._tags.rules.immutable(tag):
                continue
            if self._tags.target(await self._tags.standing(repository, tag)) == digest:
                self._tags.check_movable(tag)

    async def _store_whole(self, image: "_Image") -> None:
        """Look at what the manifest needs and store it, in less time than the patience."""
        for _ in range(_TRIES):
            began = self._terms.pace()
            await self._check_content(image.repository, image.manifest)
            await self._write(image)
            if self._terms.pace() - began <= self._terms.patience:
                return
        raise Unavailable(
            keys.manifest(image.repository, image.digest),
            "the store is too slow to answer safely; try again",
        )

    async def _write(self, image: "_Image", *, settled: bool = True) -> None:
        """Store a manifest: first what it needs, then itself and the links of its tags.

        So the collector, which takes a blob that it finds no entry of, finds one in time. One with
        a subject is not stored while it is being deleted: else its entry as a referrer might come
        after the deletion has removed that, and stay.
        """
        needs, steps = image.needs(), [image.content()]
        subject = image.manifest.subject
        if not self._entries.exact and needs:
            await self._entries.put(needs)
        elif needs:
            steps.insert(0, needs)
        if subject is None:
            await self._store.put_all(*steps, settled=settled)
            return
        descriptor = grammar.referrer_descriptor(image.manifest, image.digest)
        entry = self._referrers.entry(image.repository, subject.digest, image.digest, descriptor)
        async with self._coordinator.change(_name(image.repository, image.digest)):
            await self._store.put_all(*steps, [entry], settled=settled)

    async def _point(
        self,
        image: "_Image",
        tag: Tag,
        target: Target,
        by: str,
        conditions: Conditions,
        standing: Value | None,
    ) -> None:
        """Point a tag at the manifest, and see to it that manifest and link are there afterwards.

        The look comes after the tag was written: a deletion of the manifest that it misses lists
        the links later than that, and so takes the tag along. The link is looked at too, since a
        deletion removes it with the tag that was there before. No lock spans the two. The tag is
        pointed once: who has moved or deleted it since came later than this push.
        """
        repository = image.repository
        wrote = await self._tags.point(repository, tag, target, by, conditions, standing)
        needed = [keys.manifest(repository, target.digest)]
        needed.append(keys.tagged(repository, target.digest) + tag)
        settled = wrote
        while not (settled and await self._are_there(needed)):
            await self._store_whole(image)
            settled = True

    async def _are_there(self, wanted: Sequence[str]) -> bool:
        return all(await asyncio.gather(*(exists(self._store, key) for key in wanted)))

    async def _drop_tags(self, repository: Place, digest: Digest, *, gone: bool) -> bool:
        """Delete the tags that point at the manifest; return whether there were any."""
        prefix = keys.tagged(repository, digest)
        found = False
        async for key in every_key(self._store, prefix):
            tag = Tag(key[len(prefix) :])
            found |= await self._tags.drop(repository, tag, digest, gone=gone)
        return found

    async def _fallback(self, repository: Place, subject: Digest) -> Mapping[Digest, Descriptor]:
        """What clients listed under the fallback tag, as far as the repository still has it."""
        try:
            stored = await self.get(repository, fallback_tag(subject))
        except ManifestUnknown:
            return {}
        index = grammar.parse(stored.data, stored.media_type)
        gate = asyncio.Semaphore(_CHECKS)

        async def present(digest: Digest) -> bool:
            async with gate:
                return await exists(self._store, keys.manifest(repository, digest))

        found = await asyncio.gather(*(present(child.digest) for child in index.manifests))
        return {
            child.digest: msgspec.to_builtins(child, enc_hook=str)
            for child, here in zip(index.manifests, found, strict=True)
            if here
        }


def _name(repository: Place, digest: Digest) -> str:
    return f"manifest/{repository}/{digest}"
