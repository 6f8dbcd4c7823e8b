"""Content that comes from a backup or another registry: fetched where it is not here, verified."""

import asyncio
import secrets
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager

from registry.service.blobs import SMALL, Blobs
from registry.service.hashing import hashed
from registry.service.scrub.contents import fresh_data
from registry.spec.digest import Digest, Hasher
from registry.spec.errors import DigestMismatch
from registry.spec.names import Place
from storage.ports import ContentStore

Source = Callable[[Digest], AbstractAsyncContextManager[AsyncIterator[bytes]]]
"""Opens the bytes of a blob where it comes from."""

Placing = Callable[[str], Awaitable[bool]]
"""Makes the blob content at a key of the store with no byte passing here; ``False`` if it can't."""


class Ingest:
    """Makes repositories hold blobs. Bytes that the store has are not fetched again."""

    def __init__(self, store: ContentStore, blobs: Blobs) -> None:
        self._store = store
        self._blobs = blobs
        self._locks: defaultdict[Digest, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def blob(
        self,
        repository: Place,
        digest: Digest,
        source: Source,
        placing: Placing | None = None,
    ) -> int:
        """Make the repository hold the blob; return how many bytes were fetched for it.

        ``placing`` is tried first: what it puts into the store is only read, to be compared.

        ``DigestMismatch`` where they are not what the digest says: nothing is kept of them. It may
        be repeated: what is there already is not fetched again.
        """
        lock = self._locks[digest]
        try:
            async with lock:
                if await self._blobs.holds(repository, digest):
                    return 0
                if await self._blobs.adopt(repository, digest) is not None:
                    return 0
                if placing is not None:
                    size = await self._place(repository, digest, placing)
                    if size is not None:
                        return size
                async with source(digest) as pieces:
                    return await self._fetch(repository, digest, pieces)
        finally:
            if not lock.locked():
                self._locks.pop(digest, None)

    async def _place(self, repository: Place, digest: Digest, placing: Placing) -> int | None:
        data = fresh_data(secrets.token_hex(16))
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
        data = fresh_data(secrets.token_hex(16))
        async with self._store.append(data, "") as writer:
            await asyncio.to_thread(hasher.update, bytes(first))
            await writer.write(bytes(first))
            async for piece in hashed(pieces, hasher):
                await writer.write(piece)
            size = writer.offset
            if hasher.digest() == digest:
                await writer.finish(settled=False)
                await self._blobs.publish(repository, digest, data, size)
                return size
            progress = await writer.checkpoint()
        await self._store.abandon(data, progress)
        raise DigestMismatch(digest, hasher.digest())
