"""One request body on its way into the store: hashed and written while the next bytes arrive."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from registry.service.hashing import INLINE
from registry.service.pools import Pool
from registry.spec.digest import Digest, Hasher
from registry.spec.errors import RangeInvalid
from registry.spec.ranges import ContentRange
from storage.outlast import outlast
from storage.ports import ContentWriter

BLOCK = 512 * 1024
"""Bytes, at the least, that are hashed and written in one step: with what the last read brought
beyond it, up to 2 MiB. Two blocks are held at a time, no more."""

HASHING: Final = Pool(4, "hashing")


@dataclass(frozen=True, slots=True)
class Chunk:
    """A request body and what its headers say of it."""

    body: AsyncIterator[bytes]
    length: int | None
    content_range: ContentRange | None

    async def checked(self, offset: int) -> AsyncIterator[bytes]:
        """Yield the body; ``RangeInvalid`` where it is not as long as ``Content-Range`` says.

        What a chunked body brings is only known at its end; it is never taken beyond the range,
        and what came of it is kept.
        """
        came = 0
        wanted = self.content_range.length if self.content_range else None
        async for data in self.body:
            came += len(data)
            if wanted is not None and came > wanted:
                yield data[: wanted - came]
                break
            yield data
        if wanted is not None and came != wanted:
            raise RangeInvalid(
                f"Content-Range announces {wanted} bytes, but the body has another length",
                offset + min(came, wanted),
            )


class Intake:
    """Feeds a writer and a running hash, block by block, in order.

    Constant memory: while one block is hashed and written, the next is gathered; the client waits
    (TCP back-pressure) when both are full. Content that is whole with its first few bytes is not
    written at all, if the caller can keep it elsewhere, and is hashed when it is asked for.
    """

    def __init__(
        self,
        begin: Callable[[], Awaitable[ContentWriter]],
        offset: int,
        hasher: Hasher | None,
        checkpoint: int,
        *,
        kept: bytes = b"",
        most: int = 0,
    ) -> None:
        """Go on at ``offset`` with the writer that ``begin`` gives, once there is need of one.

        ``hasher`` is ``None`` where the earlier bytes' state is not known. ``checkpoint`` is called
        for each so many bytes. From the beginning up to ``most`` bytes are kept as ``whole``:
        behind ``kept``, which came earlier.
        """
        self._begin = begin
        self._begun = offset
        self._writer: ContentWriter | None = None
        self._hasher = hasher
        self._every = checkpoint
        self._most = most if offset == 0 else -1
        self._kept = kept
        self._kept_is_hashed = False
        self._running: asyncio.Task[None] | None = None
        self._saved = offset + len(kept)

    @property
    def offset(self) -> int:
        """Bytes that came, those of earlier requests included."""
        return self._writer.offset if self._writer else self._begun + len(self._kept)

    @property
    def whole(self) -> bytes | None:
        """All the content's bytes, where they were few enough to be kept; ``None`` otherwise."""
        return self._kept if self._writer is None and self._most >= 0 else None

    async def writer(self) -> ContentWriter:
        """Begin to write, if that has not been done."""
        if self._writer is None:
            writer = await self._begin()
            if self._kept_is_hashed:
                await writer.write(self._kept)
            elif self._kept:
                await self._process(writer, self._kept)
            self._kept = b""
            self._writer = writer
        return self._writer

    async def take(
        self, body: AsyncIterator[bytes], checkpoint: Callable[[], Awaitable[None]]
    ) -> None:
        """Take the whole body, calling ``checkpoint`` after every so many bytes. Called once.

        What the body raises is passed on; the bytes before it are taken.
        """
        block: list[bytes] = []
        gathered = 0
        try:
            async for data in body:
                block.append(data)
                gathered += len(data)
                if gathered >= BLOCK and not self._keeps(gathered):
                    whole = block[0] if len(block) == 1 else b"".join(block)
                    # While it waits for the block before, the pieces are not held as well.
                    block, gathered = [], 0
                    del data
                    await self._flush(whole)
                    del whole
                    if self.offset - self._saved >= self._every:
                        await self.settle()
                        await checkpoint()
                        self._saved = self.offset
        finally:
            if block and self._keeps(gathered):
                self._kept = b"".join([self._kept, *block])
            elif block:
                await self._flush(b"".join(block))
            await self.settle()

    async def settle(self) -> None:
        """Wait until no block is under way. Its failure is raised here, once."""
        running, self._running = self._running, None
        if running is not None:
            await outlast(running)

    async def checkpoint(self) -> str:
        """Make the bytes taken so far durable, and return the store's progress."""
        return await (await self.writer()).checkpoint()

    async def finish(self) -> int:
        """Make the content whole, its name durable with the next durable write; return its size."""
        return await (await self.writer()).finish(settled=False)

    def hashed(self) -> str | None:
        """The exported state of the hash of all bytes up to ``offset``, where it is known."""
        return self._hasher.export() if self._hasher and self._in_step(self._hasher) else None

    async def digest(self) -> Digest | None:
        """The digest of all bytes, or ``None`` where they must be read again to know it."""
        if self._hasher is None:
            return None
        if self._kept and not self._kept_is_hashed:
            if len(self._kept) <= INLINE:
                self._hasher.update(self._kept)
            else:
                loop = asyncio.get_running_loop()
                await loop.run_in_executor(HASHING, self._hasher.update, self._kept)
            self._kept_is_hashed = True
        return self._hasher.digest() if self._in_step(self._hasher) else None

    def _in_step(self, hasher: Hasher) -> bool:
        """Whether just the bytes up to ``offset`` were hashed: a block that failed was as well."""
        return hasher.length == self.offset

    def _keeps(self, more: int) -> bool:
        return self._writer is None and len(self._kept) + more <= self._most

    async def _flush(self, block: bytes) -> None:
        await self.settle()
        writer = await self.writer()
        if len(block) <= INLINE:
            await self._process(writer, block)
        else:
            self._running = asyncio.ensure_future(self._process(writer, block))

    async def _process(self, writer: ContentWriter, block: bytes) -> None:
        if self._hasher is None:
            await writer.write(block)
        elif len(block) <= INLINE:
            self._hasher.update(block)
            await writer.write(block)
        else:
            loop = asyncio.get_running_loop()
            hashing = loop.run_in_executor(HASHING, self._hasher.update, block)
            try:
                await writer.write(block)
            finally:
                await hashing
