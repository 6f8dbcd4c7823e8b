"""Walking the tree of indexes that a backup is."""

from collections.abc import AsyncIterator, Callable, Iterable, Sequence

from registry.service.backup import layout
from registry.service.backup.layout import Descriptor
from registry.service.backup.pool import Damaged, Pool
from registry.service.records import Corrupt
from registry.service.stored import StoredManifest
from registry.spec.digest import Digest
from registry.spec.errors import RegistryError
from registry.spec.manifest import Manifest


class Tree:
    """Reads indexes and manifests from a pool."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def parts(self, index: Descriptor, kind: str) -> Sequence[Descriptor]:
        """Return what an index has of this kind. ``Corrupt``."""
        found = await self._pool.index(index.digest)
        return [part for part in found.manifests if part.artifact_type == kind]

    async def images(self, repository: Descriptor) -> Sequence[Descriptor]:
        """Return the images of a repository, once for each tag. ``Corrupt``."""
        return (await self._pool.index(repository.digest)).manifests

    async def manifest(self, image: Descriptor) -> tuple[Manifest, bytes]:
        """Return an image's manifest and its exact bytes. ``Corrupt``."""
        data = await self._pool.read(image.digest)
        try:
            return await StoredManifest(image.digest, image.media_type, data).parsed(), data
        except RegistryError as error:
            raise Corrupt(f"{image.digest}: {error.message}") from error

    async def needed(
        self, roots: Iterable[Descriptor], unread: Callable[[Digest, str], None]
    ) -> AsyncIterator[Digest]:
        """Yield the digest of all that these backups need, once each, themselves included.

        ``unread`` is told of indexes and manifests that can't be read: what these need is left out.
        It holds a digest for each in memory.
        """
        told: set[Digest] = set()
        visited: set[tuple[str, ...]] = set()
        waiting = [(root, layout.BACKUP) for root in roots]
        while waiting:
            node, kind = waiting.pop()
            # One image may lack different blobs in different repositories.
            name = (node.digest, kind, node.media_type, node.annotations.get(layout.LACKS, ""))
            if name in visited:
                continue
            visited.add(name)
            digests = [node.digest]
            try:
                below, blobs = await self._below(node, kind)
            except Corrupt as error:
                unread(node.digest, error.reason if isinstance(error, Damaged) else str(error))
            else:
                waiting += below
                digests += blobs
            for digest in digests:
                if digest not in told:
                    told.add(digest)
                    yield digest

    async def _below(
        self, node: Descriptor, kind: str
    ) -> tuple[Sequence[tuple[Descriptor, str]], Iterable[Digest]]:
        """The indexes and manifests that one leads to, with their kinds, and its blobs.

        What a repository lists are images, also where one of these is an index itself.
        """
        if kind in (layout.BACKUP, layout.PROJECT, layout.REPOSITORY):
            index = await self._pool.index(node.digest)
            image = kind == layout.REPOSITORY
            return [(each, "" if image else each.artifact_type) for each in index.manifests], ()
        manifest, _ = await self.manifest(node)
        lacks = node.lacks
        blobs = {each.digest for each in (*manifest.blobs, *manifest.foreign)}
        return (), [digest for digest in blobs if digest not in lacks]
