"""One repository on its way in: what its tags lead to, what refers to that, and what has no tag."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final

from registry.service.bounded import each
from registry.service.images import Looked
from registry.service.imports.source import Source, SourceUnknown
from registry.service.ingest import Ingest
from registry.service.presence import exists
from registry.service.records import Corrupt
from registry.service.services import Services
from registry.service.stored import StoredManifest
from registry.spec.digest import Digest
from registry.spec.errors import RegistryError
from registry.spec.manifest import Manifest
from registry.spec.names import Place, RepositoryName, Tag
from storage import keys
from storage.ports import ContentStore

BY: Final = "system:import"
"""Who pushed what was imported."""

_IMAGES: Final = 4
"""Images of a repository that are imported at once."""

_IN_ALL: Final = 8
"""Images of all repositories that are imported at once."""


class Bounds:
    """How much is done at once, of all repositories together."""

    def __init__(self, jobs: int) -> None:
        """Up to ``jobs`` blobs are fetched at once."""
        self.images = asyncio.Semaphore(_IN_ALL)
        self.blobs = asyncio.Semaphore(jobs)


@dataclass(slots=True)
class Counts:
    """What was imported, and what could not be.

    ``manifests`` and ``blobs`` are those that were not here, ``tags`` all, ``bytes`` of blobs.
    """

    manifests: int = 0
    tags: int = 0
    blobs: int = 0
    bytes: int = 0
    failed: int = 0


class RepositoryImport:
    """Imports one repository of a source."""

    def __init__(
        self,
        store: ContentStore,
        services: Services,
        ingest: Ingest,
        source: Source,
        name: RepositoryName,
        place: Place,
        counts: Counts,
        failed: Callable[[str, Exception], None],
        bounds: Bounds,
    ) -> None:
        """Take ``name`` of ``source`` to ``place``."""
        self._store = store
        self._manifests = services.manifests
        self._reinstatements = services.reinstatements
        self._tags = services.tags
        self._ingest = ingest
        self._source = source
        self._name = name
        self._place = place
        self._counts = counts
        self._failed = failed
        self._bounds = bounds
        self._done: dict[Digest, bool] = {}
        self._locks: defaultdict[Digest, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._subjects: list[Digest] = []
        self._terms = services.terms
        self._looked: dict[Digest, tuple[float, int]] = {}
        self._pointed: set[Tag] = set()

    async def take(self) -> None:
        """Import all of it. What fails is told, and the rest goes on."""
        await each(await self._source.tags(self._name), self._tag, at_once=_IMAGES)
        await each(self._source.untagged(self._name), self._image, at_once=_IMAGES)

    async def _tag(self, text: str) -> None:
        try:
            tag = Tag.parse(text)
            digest = await self._source.resolve(self._name, tag)
            if not await self._image(digest, tag):
                return
            if tag not in self._pointed:
                await self._point(tag, digest)
        except (RegistryError, SourceUnknown, Corrupt) as error:
            self._fail(f":{text}", error)
            return
        self._counts.tags += 1

    async def _point(self, tag: Tag, digest: Digest) -> None:
        """Point a tag at a manifest that is here."""
        standing = await self._tags.standing(self._place, tag)
        if self._tags.target(standing) != digest:
            stored = await self._manifests.get(self._place, digest)
            looked = self._seen(await stored.parsed())
            await self._reinstatements.reinstate(self._place, stored, {tag: None}, BY, looked)

    async def _image(self, digest: Digest, *tags: Tag) -> bool:
        """Import a manifest and what refers to it; ``False`` where the manifest failed.

        If it was not here, ``tags`` are pointed at it too.
        """
        async with self._bounds.images:
            return await self._with_referrers(digest, *tags)

    async def _with_referrers(self, digest: Digest, *tags: Tag) -> bool:
        whole = await self._manifest(digest, *tags)
        while self._subjects:
            subject = self._subjects.pop()
            try:
                referrers = await self._source.referrers(self._name, subject)
            except (RegistryError, SourceUnknown) as error:
                self._fail(f"@{subject}", error)
                continue
            for referrer in referrers:
                await self._manifest(referrer)
        return whole

    async def _manifest(self, digest: Digest, *tags: Tag) -> bool:
        """Import a manifest with all it needs, once; ``False`` where that failed.

        Who waits for it waits along digests that are in one another, so never for itself. What
        refers to it may list it, and is left to ``_image``.
        """
        async with self._locks[digest]:
            if digest not in self._done:
                self._done[digest] = await self._take(digest, tags)
            return self._done[digest]

    async def _take(self, digest: Digest, tags: Sequence[Tag]) -> bool:
        try:
            if not await exists(self._store, keys.manifest(self._place, digest)):
                await self._fetch(digest, tags)
                self._pointed.update(tags)
                self._counts.manifests += 1
        except (RegistryError, SourceUnknown, Corrupt) as error:
            self._fail(f"@{digest}", error)
            return False
        self._subjects.append(digest)
        return True

    async def _fetch(self, digest: Digest, tags: Sequence[Tag]) -> None:
        """Fetch a manifest; what it needs comes before it, ``tags`` that lead to it after it."""
        stored = await self._source.manifest(self._name, digest)
        manifest = await stored.verified()
        for child in manifest.manifests:
            await self._manifest(child.digest)
        await self._blobs(manifest)
        kept = StoredManifest(digest, manifest.media_type, stored.data)
        pointed = dict.fromkeys(tags)
        await self._reinstatements.reinstate(self._place, kept, pointed, BY, self._seen(manifest))

    def _seen(self, manifest: Manifest) -> Looked | None:
        """What was seen of the blobs that a manifest needs, if any were."""
        needed = {layer.digest for layer in manifest.blobs}
        seen = {digest: self._looked[digest] for digest in needed & self._looked.keys()}
        if not seen:
            return None
        sizes = {digest: size for digest, (_, size) in seen.items()}
        return Looked(min(since for since, _ in seen.values()), sizes)

    async def _blobs(self, manifest: Manifest) -> None:
        foreign = {layer.digest for layer in manifest.foreign}
        sizes = {layer.digest: layer.size for layer in (*manifest.blobs, *manifest.foreign)}

        async def take(digest: Digest) -> None:
            before = self._looked.get(digest)
            if before and self._terms.pace() - before[0] <= self._terms.patience / 2:
                return
            async with self._bounds.blobs:
                began = self._terms.pace()
                try:
                    taken = await self._ingest.blob(
                        self._place,
                        digest,
                        self._open,
                        held=lambda came: self._source.held(self._name, digest, came=came),
                        placing=partial(self._place_blob, digest, sizes[digest]),
                    )
                except SourceUnknown:
                    if digest in foreign:
                        return  # it is where its URLs say, as it was there
                    raise
            self._looked[digest] = began, taken.size
            if taken.fetched:
                self._counts.blobs += 1
                self._counts.bytes += taken.size

        wanted = sizes.keys()
        await each(sorted(wanted), take, at_once=len(wanted) or 1)

    async def _place_blob(self, digest: Digest, size: int, key: str) -> bool:
        return await self._source.place(self._name, digest, key, size)

    @asynccontextmanager
    async def _open(self, digest: Digest) -> AsyncIterator[AsyncIterator[bytes]]:
        async with self._source.blob(self._name, digest) as pieces:
            yield pieces

    def _fail(self, what: str, error: Exception) -> None:
        self._counts.failed += 1
        self._failed(f"{self._name}{what}", error)
