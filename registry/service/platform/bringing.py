"""What a manifest needs, brought to its repository from where its pusher may read it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

from auth.policy import Allow, Decision
from auth.roles import Role
from registry.service.blobs import Blob
from registry.service.bounded import each
from registry.service.derivations import DEPTH, MOST
from registry.service.hashing import beside
from registry.service.intake import Chunk
from registry.service.manifests import Push, Pushed
from registry.service.services import Services
from registry.service.stored import StoredManifest
from registry.spec import manifest as grammar
from registry.spec.conditions import Conditions
from registry.spec.digest import Digest
from registry.spec.errors import BlobUnknown, ManifestInvalid, ManifestUnknown
from registry.spec.manifest import Descriptor, Manifest
from registry.spec.names import Place

_AT_ONCE: Final = 16

Holder = Callable[[Digest], Awaitable[Decision]]
"""From where the caller may read something."""


class Bringing:
    """Brings what one push needs, by the rights of who pushes; no byte is copied.

    ``aside`` is where the caller's uploads wait, if they do; what an index consists of waits there
    as blobs, for which repository that is to be is not known yet.
    """

    def __init__(
        self, services: Services, blob: Holder, manifest: Holder, aside: Place | None, by: str
    ) -> None:
        self._services = services
        self._blob = blob
        self._manifest = manifest
        self._aside = aside
        self._by = by
        self._brought = 0

    async def subject(self, push: Push) -> Digest | None:
        """Return what a manifest names as its subject; ``ManifestInvalid`` for one that is none."""
        manifest = await _parsed(push)
        return manifest.subject.digest if manifest.subject is not None else None

    async def put_aside(self, aside: Place, push: Push) -> Pushed:
        """Keep a manifest that is pushed by its digest until an index has it.

        Not found under its digest until then. ``DigestMismatch``; ``ManifestInvalid``;
        ``QuotaExceeded``.
        """
        manifest, digest = await _parsed(push), push.reference
        if not isinstance(digest, Digest):
            raise TypeError("only what has no tag is put aside")
        chunk = Chunk(_whole(push.body), len(push.body), None)
        await self._services.uploads.upload(aside, self._by, digest, chunk)
        return Pushed(digest, manifest.media_type, None)

    async def bring(self, target: Place, push: Push, role: Role | None, depth: int = DEPTH) -> None:
        """Make ``target`` have what the manifest needs, as far as it is found.

        Whether anything is missing is for the push. ``ManifestInvalid`` for one with too many
        parts; ``QuotaExceeded``.
        """
        manifest = await _parsed(push)

        async def mount(blob: Descriptor) -> None:
            if not await self._services.blobs.holds(target, blob.digest):
                await self._mount(target, blob.digest)

        await each(manifest.blobs, mount, at_once=_AT_ONCE)
        for child in manifest.manifests:
            stored = await self._missing(target, child)
            if stored is None:
                continue
            self._brought += 1
            if self._brought > MOST or not depth:
                raise ManifestInvalid(
                    f"an index may lack {MOST} manifests, {DEPTH} deep: push some of them first"
                )
            part = Push(stored.digest, (), stored.data, stored.media_type, Conditions())
            await self.bring(target, part, role, depth - 1)
            await self._services.manifests.put(target, part, self._by, role)

    async def _mount(self, target: Place, digest: Digest) -> Blob | None:
        blobs = self._services.blobs
        if self._aside is not None:
            blob = await blobs.mount(target, digest, self._aside)
            if blob is not None:
                return blob
        source = await self._blob(digest)
        if isinstance(source, Allow) and source.place != target:
            return await blobs.mount(target, digest, source.place)
        return None

    async def _missing(self, target: Place, child: Descriptor) -> StoredManifest | None:
        """Return a part of an index that ``target`` lacks, from where it is, if anywhere."""
        manifests, blobs = self._services.manifests, self._services.blobs
        try:
            await manifests.get(target, child.digest)
        except ManifestUnknown:
            pass
        else:
            return None
        if self._aside is not None and child.size <= grammar.MAX_SIZE:
            try:
                blob = await blobs.find(self._aside, child.digest)
                if blob.size == child.size:
                    return StoredManifest(child.digest, child.media_type, await blobs.whole(blob))
            except BlobUnknown:
                pass
        source = await self._manifest(child.digest)
        if not isinstance(source, Allow):
            return None
        try:
            return await manifests.get(source.place, child.digest)
        except ManifestUnknown:
            return None


async def _parsed(push: Push) -> Manifest:
    return await beside(len(push.body), lambda: grammar.parse(push.body, push.content_type))


async def _whole(body: bytes) -> AsyncIterator[bytes]:
    yield body
