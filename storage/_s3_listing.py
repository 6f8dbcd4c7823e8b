"""Keys in byte order, from stores that give them so and from those that do not.

Amazon, MinIO and Ceph list keys in byte order. SeaweedFS lists them as a walk through directories,
each with its names in byte order *without* the ``/`` behind those of directories: ``a/x`` comes
before ``a!``. There one directory after another is listed, and a directory's keys are held back
until their turn has come.
"""

from collections.abc import AsyncIterator
from heapq import heappop, heappush
from typing import Final

from storage._s3_bucket import Bucket

_MOST: Final = 1000
"""Keys that one request may ask for."""


async def in_byte_order(bucket: Bucket, prefix: str, after: str, limit: int) -> list[str]:
    """Return up to ``limit`` keys, of a store that lists in byte order. One request a thousand."""
    found: list[str] = []
    goes_on = ""
    while len(found) < limit:
        wanted = min(limit - len(found), _MOST)
        page = await bucket.page(prefix, after=after, limit=wanted, goes_on=goes_on)
        found += page.keys
        goes_on = page.next
        if not goes_on:
            break
    return found[:limit]


async def by_directories(bucket: Bucket, prefix: str, after: str, limit: int) -> list[str]:
    """The same of a store that lists by directories: at least one request for each."""
    found: list[str] = []
    if limit > 0:
        async for key in _walk(bucket, prefix, after, limit):
            found.append(key)
            if len(found) == limit:
                break
    return found


async def directories(bucket: Bucket, prefix: str) -> AsyncIterator[str]:
    """Yield the names of the directories at ``prefix``, in the store's order."""
    goes_on: str | None = ""
    while goes_on is not None:
        page = await bucket.page(prefix, delimiter="/", goes_on=goes_on)
        for name in page.prefixes:
            yield name[len(prefix) : -1]
        goes_on = page.next or None


async def _walk(bucket: Bucket, prefix: str, after: str, limit: int) -> AsyncIterator[str]:
    rest = after[len(prefix) :] if after.startswith(prefix) else ""
    if not rest and after > prefix:
        return
    held = await _held_back(bucket, prefix, rest)
    async for name in _names(bucket, prefix, rest, limit):
        while held and held[0] < name:
            async for key in _walk(bucket, prefix + heappop(held), after, limit):
                yield key
        if name.endswith("/"):
            heappush(held, name)
        else:
            yield prefix + name
    while held:
        async for key in _walk(bucket, prefix + heappop(held), after, limit):
            yield key


async def _held_back(bucket: Bucket, prefix: str, rest: str) -> list[str]:
    """The directories that the store lists up to ``rest``, though their keys come behind it."""
    first = rest.partition("/")[0]
    held = [first + "/"] if first else []
    for index, character in enumerate(first):
        name = first[:index] + "/"
        if index and character < "/" and (await bucket.page(prefix + name, limit=1)).keys:
            held.append(name)
    return sorted(held)


async def _names(bucket: Bucket, prefix: str, rest: str, limit: int) -> AsyncIterator[str]:
    """The names in one directory behind ``rest``, in the store's order; directories end in ``/``.

    Those that ``_held_back`` found are left out.
    """
    first = rest.partition("/")[0]
    goes_on = ""
    while True:
        page = await bucket.page(
            prefix,
            after=prefix + first if first else "",
            limit=min(max(limit, 1) + 1, _MOST),
            delimiter="/",
            goes_on=goes_on,
        )
        names = [name[len(prefix) :] for name in (*page.keys, *page.prefixes)]
        for name in sorted(names, key=lambda name: name.removesuffix("/")):
            if name > rest and name.removesuffix("/") > first:
                yield name
        goes_on = page.next
        if not goes_on:
            return
