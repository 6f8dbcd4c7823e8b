"""Bytes of blobs, read and hashed at a bounded rate."""

import asyncio
from dataclasses import dataclass, field
from typing import Final

from registry.service.pointers import Pointers
from registry.service.records import Corrupt, Pointer
from registry.service.terms import Terms
from registry.spec.digest import Digest, Hasher
from storage import keys
from storage.ports import ContentStore, NotFound

_BURST: Final = 1.0
"""Seconds whose bytes may be read at once after a pause."""


@dataclass(slots=True)
class Pace:
    """Lets ``per_second`` bytes through; 0: any number."""

    per_second: float = 0.0
    _free: float = field(default=0.0, init=False)

    async def spend(self, size: int) -> None:
        """Count ``size`` bytes that were read, and wait until more may be."""
        if not self.per_second:
            return
        now = asyncio.get_running_loop().time()
        self._free = max(self._free, now - _BURST) + size / self.per_second
        if self._free > now:
            await asyncio.sleep(self._free - now)


async def damage(
    store: ContentStore, digest: Digest, pointer: Pointer, content: bytes, pace: Pace
) -> str:
    """Say what is wrong with the bytes that ``pointer`` leads to; ``""`` if nothing is.

    ``Unavailable`` where they can't be read now: that says nothing about them.
    """
    hasher, size = Hasher(digest.algorithm), len(content)
    if not pointer.data:
        await asyncio.to_thread(hasher.update, content)
        await pace.spend(size)
    else:
        try:
            stat = await store.stat(pointer.data)
            if stat.size != pointer.size:
                return f"it has {stat.size} bytes, not {pointer.size}"
            async with store.open(pointer.data, 0, pointer.size) as reader:
                async for piece in reader:
                    await asyncio.to_thread(hasher.update, piece)
                    size += len(piece)
                    await pace.spend(len(piece))
        except NotFound:
            return "its bytes are not there"
    if size != pointer.size:
        return f"it has {size} bytes, not {pointer.size}"
    found = hasher.digest()
    return "" if found == digest else f"its bytes are those of {found}"


class Second:
    """A store with the same layout that bytes may be had from, such as a copy of a bucket.

    It is only read.
    """

    def __init__(self, store: ContentStore) -> None:
        self._store = store

    async def blob(self, digest: Digest, pace: Pace) -> tuple[Pointer, bytes] | None:
        """Return its pointer to good bytes, and those of a small blob; ``None`` if it has none."""
        try:
            found = await Pointers(self._store, Terms()).read(digest)
        except Corrupt:
            return None
        if found is None or not found[0].state.visible:
            return None
        pointer, content, _ = found
        wrong = await damage(self._store, digest, pointer, content, pace)
        return None if wrong else (pointer, content)

    async def copy(self, pointer: Pointer, to: ContentStore, key: str, digest: Digest) -> bool:
        """Copy bytes to ``key`` of another store; whether they are what ``digest`` says."""
        hasher = Hasher(digest.algorithm)
        async with (
            self._store.open(pointer.data, 0, pointer.size) as reader,
            to.append(key, "") as writer,
        ):
            async for piece in reader:
                await asyncio.to_thread(hasher.update, piece)
                await writer.write(piece)
            if hasher.digest() == digest:
                await writer.finish()
                return True
            progress = await writer.checkpoint()
        await to.abandon(key, progress)
        return False

    async def value(self, key: str) -> bytes | None:
        """Return a small object as it is there."""
        try:
            return (await self._store.get(key)).data
        except NotFound:
            return None


def fresh_data(number: str) -> str:
    """A key for bytes that no upload brought; ``number`` is 32 random hexadecimal digits."""
    return f"{keys.DATA}{number[:2]}/{number}"
