"""The blobs that backups share, by their digests. Bytes are hashed on their way in and out."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Final

from registry.service.backup import layout
from registry.service.hashing import beside, digest_of, hashed
from registry.service.records import Corrupt
from registry.spec.digest import Digest, Hasher
from storage.ports import ContentReader, ContentStore, NotFound, StorageError, Unavailable

MAX_DOCUMENT: Final = 128 * 1024 * 1024
"""Most bytes of one index: some 400,000 images of one repository."""


class Damaged(Corrupt):
    """Bytes are not those of the digest that they were asked for by, or are not there."""

    def __init__(self, digest: Digest, reason: str) -> None:
        super().__init__(f"{digest}: {reason}")
        self.digest = digest
        self.reason = reason


class Pool:
    """Reads and writes blobs. Whoever writes has the lease of the backups: one writer of a blob."""

    def __init__(self, store: ContentStore, *, files: bool = False) -> None:
        """``files``: what can't be read of ``store`` now is one file, not all of it."""
        self._store = store
        self.unreadable: tuple[type[StorageError], ...] = (
            (NotFound, Unavailable) if files else (NotFound,)
        )

    async def holds(self, digest: Digest) -> bool:
        """Whether the blob is there, whole."""
        try:
            async with self._store.open(layout.blob(digest), 0, 0):
                return True
        except NotFound:
            return False

    async def keep(self, digest: Digest, pieces: AsyncIterator[bytes]) -> int:
        """Write a blob, if it is what its digest says; return its size. ``Damaged`` if not.

        Nothing of it is there before all of it is. It may be repeated.
        """
        hasher, size = Hasher(digest.algorithm), 0
        key = layout.blob(digest)
        async with self._store.append(key, "") as writer:
            async for piece in hashed(pieces, hasher):
                await writer.write(piece)
                size += len(piece)
            if hasher.digest() == digest:
                await writer.finish()
                return size
            progress = await writer.checkpoint()
        await self._store.abandon(key, progress)
        raise Damaged(digest, f"its bytes are those of {hasher.digest()}")

    async def keep_bytes(self, digest: Digest, data: bytes) -> None:
        """Write a blob that is in memory, unless it is there already. ``Damaged`` as ``keep``."""
        if not await self.holds(digest):
            await self.keep(digest, _once(data))

    async def keep_document(self, document: layout.Index | layout.Artifact) -> layout.Descriptor:
        """Write an index or a manifest and return its descriptor.

        ``Damaged`` for one that is too large for ``read``.
        """
        data = document.encode()
        digest = await digest_of(data)
        if len(data) > MAX_DOCUMENT:
            raise Damaged(digest, f"an index of {len(data)} bytes is too large for a backup")
        await self.keep_bytes(digest, data)
        return layout.Descriptor(
            media_type=document.media_type,
            digest=digest,
            size=len(data),
            artifact_type=document.artifact_type,
        )

    async def read(self, digest: Digest) -> bytes:
        """Return a blob that fits into memory, compared with its digest. ``Damaged``."""
        pieces: list[bytes] = []
        try:
            async with self._store.open(layout.blob(digest)) as reader:
                if reader.size > MAX_DOCUMENT:
                    raise Damaged(digest, f"it has {reader.size} bytes, too many for a document")
                pieces = [piece async for piece in reader]
        except self.unreadable as error:
            raise Damaged(digest, unread(error)) from None
        data = b"".join(pieces)
        found = await digest_of(data, digest.algorithm)
        if found != digest:
            raise Damaged(digest, f"its bytes are those of {found}")
        return data

    async def index(self, digest: Digest) -> layout.Index:
        """Return an index. ``Corrupt``."""
        data = await self.read(digest)
        return await beside(len(data), lambda: layout.Index.decode(data))

    def open(self, digest: Digest) -> AbstractAsyncContextManager[ContentReader]:
        """Read a blob; who reads it compares it. ``NotFound``."""
        return self._store.open(layout.blob(digest))

    async def remove(self, digest: Digest) -> None:
        """Remove a blob that no backup needs."""
        await self._store.delete(layout.blob(digest))

    async def check(self, digest: Digest) -> int:
        """Read a blob and compare it with its digest; return its size. ``Damaged``."""
        hasher, size = Hasher(digest.algorithm), 0
        try:
            async with self.open(digest) as reader:
                async for piece in hashed(reader, hasher):
                    size += len(piece)
        except self.unreadable as error:
            raise Damaged(digest, unread(error)) from None
        if hasher.digest() != digest:
            raise Damaged(digest, f"its bytes are those of {hasher.digest()}")
        return size


def unread(error: StorageError) -> str:
    """Say why bytes could not be read."""
    return "it is not there" if isinstance(error, NotFound) else str(error)


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data
