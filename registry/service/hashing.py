"""Hashing a stream without holding up the event loop."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator

from registry.spec.digest import Hasher


async def hashed(pieces: AsyncIterable[bytes], hasher: Hasher) -> AsyncIterator[bytes]:
    """Yield ``pieces`` as they come; before one is, ``hasher`` has taken it, in a thread."""
    async for piece in pieces:
        await asyncio.to_thread(hasher.update, piece)
        yield piece
