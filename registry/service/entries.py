"""Entries: objects that tell, by being there, that one thing needs another.

A collector removes an entry at the version at which it saw it, so that it never hits one that was
written meanwhile. So each is written with a mark that no earlier one at that key had. Of one
process, those of a second have the same mark: a store on files makes them names of one file, and
no collector looks at one that is younger than a second.
"""

import secrets
import time
from typing import Final

from registry.service.bounded import all_of
from storage.ports import AlreadyExists, Items, NotFound, ObjectStore, PreconditionFailed, Value

_PROCESS: Final = secrets.token_urlsafe(9).encode()
_ROUNDS: Final = 50


def mark() -> bytes:
    """What an entry holds that is written now: at most 24 bytes."""
    return b"%b%x" % (_PROCESS, int(time.monotonic()))


class Entries:
    """Writes entries and memberships.

    ``exact``: the store deletes an object at a version, whatever is written beside. Where it does
    not, its driver keeps late deletes from what is created and replaced, but not from what is put.
    So there all of them are created or replaced.
    """

    def __init__(self, store: ObjectStore, *, exact: bool) -> None:
        self._store = store
        self.exact = exact

    async def put(self, *steps: Items, settled: bool = True) -> None:
        """Write the items of each step, step by step, whatever is there; as ``put_all``."""
        if self.exact:
            await self._store.put_all(*steps, settled=settled)
            return
        for step in steps:
            await all_of(self._swap_in(key, data) for key, data in step)

    async def _swap_in(self, key: str, data: bytes) -> None:
        for _ in range(_ROUNDS):
            try:
                await self._store.create(key, data)
            except AlreadyExists:
                standing = await value(self._store, key)
                if standing is None:
                    continue
                if standing.data == data:
                    return
                try:
                    await self._store.replace(key, data, standing.version)
                except PreconditionFailed:
                    continue
            return
        raise PreconditionFailed(key)


async def value(store: ObjectStore, key: str) -> Value | None:
    """What is stored at the key; ``None`` for nothing."""
    try:
        return await store.get(key)
    except NotFound:
        return None


async def remove(store: ObjectStore, key: str, version: str) -> bool:
    """Remove what is still at the version, or gone; whether it was."""
    try:
        await store.delete(key, version=version)
    except PreconditionFailed:
        return False
    return True
