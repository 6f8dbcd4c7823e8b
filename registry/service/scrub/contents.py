"""Bytes of blobs, read and hashed at a bounded rate."""

from collections.abc import Awaitable, Callable

from registry.service.entries import value
from registry.service.hashing import hashed
from registry.service.pointers import Pointers
from registry.service.records import Corrupt, Pointer
from registry.service.terms import Terms
from registry.service.throttle import Throttle
from registry.spec.digest import Digest, Hasher
from storage.ports import ContentStore, NotFound

_Sink = Callable[[bytes], Awaitable[None]]


async def _nowhere(piece: bytes) -> None:
    """Where bytes go that are only looked at."""


async def damage(
    store: ContentStore,
    digest: Digest,
    pointer: Pointer,
    content: bytes,
    throttle: Throttle,
    sink: _Sink = _nowhere,
) -> str:
    """Say what is wrong with the bytes that ``pointer`` leads to; ``""`` if nothing is.

    ``sink`` gets them as they are read. ``Unavailable`` where they can't be read now: that says
    nothing about them.
    """
    hasher = Hasher(digest.algorithm)
    if not pointer.data:
        hasher.update(content)
        await throttle.wait(len(content))
    else:
        try:
            stat = await store.stat(pointer.data)
            if stat.size != pointer.size:
                return f"it has {stat.size} bytes, not {pointer.size}"
            async with store.open(pointer.data, 0, pointer.size) as reader:
                async for piece in hashed(reader, hasher):
                    await sink(piece)
                    await throttle.wait(len(piece))
        except NotFound:
            return "its bytes are not there"
    if hasher.length != pointer.size:
        return f"it has {hasher.length} bytes, not {pointer.size}"
    found = hasher.digest()
    return "" if found == digest else f"its bytes are those of {found}"


class Second:
    """A store with the same layout that bytes may be had from, such as a copy of a bucket.

    It is only read.
    """

    def __init__(self, store: ContentStore) -> None:
        self._store = store

    async def have(
        self, digest: Digest, to: ContentStore, key: str, throttle: Throttle
    ) -> tuple[Pointer, bytes] | None:
        """Return a pointer to good bytes, and those of a small blob; ``None`` if it has none.

        Those of a large one are copied to ``key`` of the store ``to``, where nothing is if they
        turn out to be damaged here too.
        """
        try:
            found = await Pointers(self._store, Terms()).read(digest)
        except Corrupt:
            return None
        if found is None or not found[0].state.visible:
            return None
        pointer, content, _ = found
        if not pointer.data:
            wrong = await damage(self._store, digest, pointer, content, throttle)
            return None if wrong else (pointer, content)
        async with to.append(key, "") as writer:
            wrong = await damage(self._store, digest, pointer, b"", throttle, writer.write)
            if not wrong:
                await writer.finish()
                return Pointer(pointer.size, key), b""
            progress = await writer.checkpoint()
        await to.abandon(key, progress)
        return None

    async def value(self, key: str) -> bytes | None:
        """Return a small object as it is there."""
        found = await value(self._store, key)
        return found.data if found is not None else None
