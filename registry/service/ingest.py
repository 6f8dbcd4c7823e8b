"""Content that comes from a backup or another registry: fetched where it is not here, verified."""

import asyncio
from collections import OrderedDict, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass
from typing import Final

from registry.service.blobs import SMALL, Blobs
from registry.service.data_keys import fresh_data
from registry.service.hashing import hashed
from registry.service.presence import exists
from registry.spec.digest import Digest, Hasher
from registry.spec.errors import BlobUnknown, DigestMismatch
from registry.spec.names import Place
from storage import keys
from storage.outlast import outlast
from storage.ports import ContentStore, StorageError

Source = Callable[[Digest], AbstractAsyncContextManager[AsyncIterator[bytes]]]
"""Opens the bytes of a blob where it comes from."""

Placing = Callable[[str], Awaitable[bool]]
"""Makes the blob content at a key of the store with no byte passing here; ``False`` if it can't."""

Held = Callable[[bool], Awaitable[bool]]
"""Tells whether the repository has the blob where it comes from, so that bytes which the store has
from elsewhere are its too. It is told whether these came from the same source, verified."""

_REMEMBERED: Final = 100_000
"""Most digests that are known to have come from a source."""


@dataclass(frozen=True, slots=True)
class Taken:
    """A blob that a repository holds: its size in bytes, and whether they were fetched for it."""

    size: int
    fetched: bool


async def by_record(_came: bool) -> bool:  # noqa: FBT001 - as ``Held``
    """``Held``, where a record of this registry says that the repository held the blob."""
    return True


class Ingest:
    """Makes repositories hold blobs of one source. Bytes that the store has may be spared.

    A digest is no right to bytes: another project's are given to a repository only if the source
    is a proof that it had them.
    """

    def __init__(self, store: ContentStore, blobs: Blobs) -> None:
        self._store = store
        self._blobs = blobs
        self._locks: defaultdict[Digest, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._came: OrderedDict[Digest, None] = OrderedDict()

    async def blob(
        self,
        repository: Place,
        digest: Digest,
        source: Source,
        *,
        held: Held,
        placing: Placing | None = None,
    ) -> Taken:
        """Make the repository hold the blob.

        Without a yes of ``held`` they are fetched, also where the store has them: what it raises
        is raised before anything is given to the repository.

        ``placing`` is tried first: what it puts into the store is only read, to be compared.

        ``DigestMismatch`` where they are not what the digest says: nothing is kept of them. It may
        be repeated: what is there already is not fetched again.
        """
        lock = self._locks[digest]
        try:
            async with lock:
                # What has no bytes here is held by nobody: most of what comes is new.
                known = await exists(self._store, keys.pointer(digest))
                if known and (size := await self._size(repository, digest)) is not None:
                    return Taken(size, fetched=False)
                if await held(digest in self._came) and known:
                    blob = await self._blobs.adopt(repository, digest)
                    if blob is not None:
                        return Taken(blob.size, fetched=False)
                size = await self._place(repository, digest, placing) if placing else None
                if size is None:
                    async with source(digest) as pieces:
                        size = await self._fetch(repository, digest, pieces)
                self._came[digest] = None
                if len(self._came) > _REMEMBERED:
                    self._came.popitem(last=False)
                return Taken(size, fetched=True)
        finally:
            if not lock.locked():
                self._locks.pop(digest, None)

    async def _size(self, repository: Place, digest: Digest) -> int | None:
        try:
            return (await self._blobs.find(repository, digest)).size
        except BlobUnknown:
            return None

    async def _place(self, repository: Place, digest: Digest, placing: Placing) -> int | None:
        data = fresh_data()
        if not await placing(data):
            return None
        hasher, size = Hasher(digest.algorithm), 0
        async with self._store.open(data) as reader:
            async for piece in hashed(reader, hasher):
                size += len(piece)
        if hasher.digest() != digest:
            await self._store.delete(data)
            raise DigestMismatch(digest, hasher.digest())
        await self._blobs.publish(repository, digest, data, size)
        return size

    async def _fetch(self, repository: Place, digest: Digest, pieces: AsyncIterator[bytes]) -> int:
        hasher, first = Hasher(digest.algorithm), bytearray()
        async for piece in pieces:
            first += piece
            if len(first) > SMALL:
                break
        else:
            hasher.update(first)
            if hasher.digest() != digest:
                raise DigestMismatch(digest, hasher.digest())
            await self._blobs.publish_small(repository, digest, bytes(first))
            return len(first)
        data = fresh_data()
        try:
            async with self._store.append(data, "") as writer:
                await asyncio.to_thread(hasher.update, bytes(first))
                await writer.write(bytes(first))
                async for piece in hashed(pieces, hasher):
                    await writer.write(piece)
                found, size = hasher.digest(), writer.offset
                if found == digest:
                    await writer.finish(settled=False)
        except BaseException:
            # Nobody knows the key, so nobody else would.
            with suppress(StorageError):
                await outlast(self._store.abandon(data, ""))
            raise
        if found != digest:
            await self._store.abandon(data, "")
            raise DigestMismatch(digest, found)
        await self._blobs.publish(repository, digest, data, size)
        return size
