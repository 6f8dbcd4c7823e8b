"""Restoring content: images from the pool into repositories, with all they need."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Final

from registry.service.backup.backups import Backups
from registry.service.backup.layout import TAG, Descriptor
from registry.service.backup.pool import Damaged, unread
from registry.service.bounded import each
from registry.service.ingest import Ingest, by_record
from registry.service.records import Corrupt, TagRecord
from registry.service.services import Services
from registry.service.stored import StoredManifest
from registry.service.throttle import Throttle
from registry.spec.digest import Digest
from registry.spec.errors import DigestMismatch, RegistryError
from registry.spec.names import Place, Tag
from storage.ports import ContentReader, ContentStore

BY: Final = "system:restore"
"""Who moves a tag back that is elsewhere."""

_AT_ONCE: Final = 4


@dataclass(slots=True)
class Restored:
    """What a restore has done so far. ``failed``: what could not be restored."""

    projects: int = 0
    repositories: int = 0
    manifests: int = 0
    tags: int = 0
    blobs: int = 0
    bytes: int = 0
    failed: int = 0


Failed = Callable[[str, str], None]
"""Is told of what could not be restored, and why."""


class Contents:
    """Restores repositories, and counts what was done."""

    def __init__(
        self,
        store: ContentStore,
        services: Services,
        backups: Backups,
        per_second: float,
        told: Callable[[Restored], None],
        failed: Failed,
    ) -> None:
        """As ``Restore``."""
        self._services = services
        self._pool = backups.pool
        self._tree = backups.tree
        self._throttle = Throttle(per_second)
        self._told = told
        self._failed = failed
        self._ingest = Ingest(store, services.blobs)
        self.done = Restored()

    async def repository(self, place: Place, repository: Descriptor) -> None:
        """Restore a repository: children before what lists them, blobs before both.

        What can't be restored is told, and the rest goes on. May be repeated.
        """
        by_digest: dict[Digest, list[Descriptor]] = {}
        try:
            for image in await self._tree.images(repository):
                by_digest.setdefault(image.digest, []).append(image)
        except Corrupt as error:
            self.fail(str(place), error)
            return
        done: set[Digest] = set()
        failed: set[Digest] = set()
        waiting = list(by_digest)
        while waiting:
            digest = waiting[-1]
            if digest in done:
                waiting.pop()
                continue
            try:
                manifest, data = await self._tree.manifest(by_digest[digest][0])
            except Corrupt as error:
                self.fail(f"{place}@{digest}", error)
                done.add(digest)
                failed.add(digest)
                continue
            children = [child.digest for child in manifest.manifests]
            ahead = [child for child in children if child in by_digest and child not in done]
            if ahead:
                waiting += ahead
                continue
            done.add(digest)
            lacks = by_digest[digest][0].lacks
            blobs = {each.digest for each in (*manifest.blobs, *manifest.foreign)} - lacks

            async def take(blob: Digest) -> None:
                if not await self._blob(place, blob):
                    failed.add(blob)

            await each(sorted(blobs - failed), take, at_once=_AT_ONCE)
            stored = StoredManifest(digest, by_digest[digest][0].media_type, data)
            whole = failed.isdisjoint((*blobs, *children))
            if not (whole and await self._image(place, stored, by_digest[digest])):
                failed.add(digest)
        self.done.repositories += 1
        self._told(self.done)

    async def _image(
        self, place: Place, stored: StoredManifest, images: Sequence[Descriptor]
    ) -> bool:
        try:
            tags: dict[Tag, TagRecord | None] = {
                Tag.parse(image.name): TagRecord.decode(image.annotations[TAG].encode())
                for image in images
                if image.name
            }
            await self._services.reinstatements.reinstate(place, stored, tags, BY)
        except (RegistryError, Corrupt) as error:
            self.fail(f"{place}@{stored.digest}", error)
            return False
        self.done.manifests += 1
        self.done.tags += len(tags)
        self._told(self.done)
        return True

    async def _blob(self, place: Place, digest: Digest) -> bool:
        try:
            taken = await self._ingest.blob(place, digest, self._open, held=by_record)
        except (DigestMismatch, Corrupt) as error:
            self.fail(f"{place}@{digest}", error)
            return False
        if taken.fetched:
            self.done.blobs += 1
            self.done.bytes += taken.size
            self._told(self.done)
        return True

    @asynccontextmanager
    async def _open(self, digest: Digest) -> AsyncIterator[AsyncIterator[bytes]]:
        async with AsyncExitStack() as stack:
            try:
                reader = await stack.enter_async_context(self._pool.open(digest))
            except self._pool.unreadable as error:
                raise Damaged(digest, unread(error)) from None
            yield self._pieces(digest, reader)

    async def _pieces(self, digest: Digest, reader: ContentReader) -> AsyncIterator[bytes]:
        try:
            async for piece in reader:
                await self._throttle.wait(len(piece))
                yield piece
        except self._pool.unreadable as error:
            raise Damaged(digest, unread(error)) from None

    def fail(self, what: str, error: Exception) -> None:
        """Count and tell what could not be restored."""
        self.done.failed += 1
        self._failed(what, getattr(error, "message", str(error)))
