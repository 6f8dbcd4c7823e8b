"""Images on their way into a repository: what they need, themselves, and the tags to them."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from registry.service.blobs import Blobs
from registry.service.entries import Entries, mark
from registry.service.presence import exists
from registry.service.referrers import Referrers
from registry.service.tags import Tags, Target
from registry.service.terms import Terms
from registry.spec import manifest as grammar
from registry.spec.conditions import Conditions
from registry.spec.digest import Digest
from registry.spec.errors import (
    BlobUnknown,
    ManifestBlobUnknown,
    ManifestInvalid,
    ManifestUnknown,
)
from registry.spec.manifest import Descriptor as Content
from registry.spec.manifest import Manifest
from registry.spec.names import Place, Tag
from storage import keys
from storage.coordination import Coordinator
from storage.ports import ContentStore, Unavailable, Value

CHECKS = 16
"""Things that are looked at at the same time."""

_TRIES = 5
Sizes = Callable[[Place, Digest], Awaitable[int]]
"""The size of something that a repository has, in bytes."""


@dataclass(frozen=True, slots=True)
class Image:
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


class Images:
    """Looks at what manifests need, and writes them so that collector and deletion see it."""

    def __init__(
        self,
        store: ContentStore,
        coordinator: Coordinator,
        blobs: Blobs,
        tags: Tags,
        referrers: Referrers,
        entries: Entries,
        manifest_size: Sizes,
        terms: Terms,
        *,
        allow_sparse: bool,
    ) -> None:
        """``allow_sparse`` takes manifests that lack content."""
        self._store = store
        self._coordinator = coordinator
        self._blobs = blobs
        self._tags = tags
        self._referrers = referrers
        self._entries = entries
        self._manifest_size = manifest_size
        self._terms = terms
        self._allow_sparse = allow_sparse

    async def check_content(self, repository: Place, manifest: Manifest) -> None:
        """Refuse a manifest whose content is missing, or is not of the size that it says.

        Clients allocate and verify by that size: such an image could be pushed, never pulled.
        """
        gate = asyncio.Semaphore(CHECKS)

        async def size_of(descriptor: Content, read: Sizes) -> int | None:
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

    async def store_whole(self, image: Image) -> None:
        """Look at what the manifest needs and store it, in less time than the patience."""
        for _ in range(_TRIES):
            began = self._terms.pace()
            await self.check_content(image.repository, image.manifest)
            await self.write(image)
            if self._terms.pace() - began <= self._terms.patience:
                return
        raise Unavailable(
            keys.manifest(image.repository, image.digest),
            "the store is too slow to answer safely; try again",
        )

    async def write(self, image: Image, *, settled: bool = True) -> None:
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
        async with self._coordinator.change(manifest_name(image.repository, image.digest)):
            await self._store.put_all(*steps, [entry], settled=settled)

    async def point(
        self,
        image: Image,
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
            await self.store_whole(image)
            settled = True

    async def _are_there(self, wanted: Sequence[str]) -> bool:
        return all(await asyncio.gather(*(exists(self._store, key) for key in wanted)))


def manifest_name(repository: Place, digest: Digest) -> str:
    """What the coordinator calls a manifest."""
    return f"manifest/{repository}/{digest}"
