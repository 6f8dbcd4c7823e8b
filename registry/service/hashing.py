"""Hashing, and the like, without holding up the event loop."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable
from functools import partial
from typing import Final, TypeVar

from registry.spec.digest import Digest, Hasher

T = TypeVar("T")

INLINE: Final = 64 * 1024
"""Bytes that are worked on where the loop runs: with more, others would wait too long."""


async def hashed(pieces: AsyncIterable[bytes], hasher: Hasher) -> AsyncIterator[bytes]:
    """Yield ``pieces`` as they come; before one is, ``hasher`` has taken it, as ``beside``."""
    async for piece in pieces:
        await beside(len(piece), partial(hasher.update, piece))
        yield piece


async def digest_of(data: bytes, algorithm: str = "sha256") -> Digest:
    """The digest of bytes that are in memory."""
    return await beside(len(data), lambda: Digest.of(data, algorithm))


async def beside(size: int, work: Callable[[], T]) -> T:
    """Do work on so many bytes: on many of them in a thread."""
    return work() if size <= INLINE else await asyncio.to_thread(work)
