"""What a backup has yet to copy, and its stay in the store until then.

Nothing new keeps it from the collector: a backup asks for each blob as a client would. An answer is
a promise for one grace (decision 40), and is asked for again four times in each until the blob has
been copied.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Final

from registry.service.backup.pool import Damaged, Pool
from registry.service.bounded import each
from registry.service.memberships import Memberships
from registry.service.pointers import Pointers
from registry.service.records import Corrupt
from registry.service.terms import Terms
from registry.service.throttle import Throttle
from registry.spec.digest import Digest
from registry.spec.names import Place
from storage.ports import ContentStore, NotFound, StorageError, Unavailable

_log = logging.getLogger("moorage.backup")

_pause = asyncio.sleep

_AT_ONCE: Final = 4
"""Blobs that are copied at the same time."""

Missing = Callable[[str, str], None]
"""Is told of what can't be copied, by its digest or its key, and why."""

Copied = Callable[[int], None]
"""Is told of each blob that was copied: its bytes."""


class Held:
    """Blobs that are promised, and copied later. About 200 bytes of memory for each."""

    def __init__(
        self,
        store: ContentStore,
        pool: Pool,
        members: Memberships,
        terms: Terms,
        throttle: Throttle,
        missing: Missing,
        *,
        files: bool = False,
    ) -> None:
        """``files``: what can't be read of ``store`` now is one file, not all of it."""
        self._store = store
        self._pool = pool
        self._members = members
        self._pointers = Pointers(store, terms)
        self._terms = terms
        self._throttle = throttle
        self.lacks = missing
        self.unreadable: tuple[type[Exception], ...] = (
            (Corrupt, Unavailable) if files else (Corrupt,)
        )
        self._there: set[Digest] = set()
        self._waiting: dict[Digest, None] = {}

    async def promise(self, place: Place, digest: Digest) -> bool:
        """Have a blob of a repository kept until it is copied; ``False`` if it has no good one.

        Where the backups have it already, there is nothing to be kept.
        """
        if not await self._is_member(place, digest):
            return False
        if digest in self._there or digest in self._waiting:
            return True
        if await self._pool.holds(digest):
            self._there.add(digest)
            return True
        try:
            await self._pointers.find(digest)
        except NotFound:
            return False
        except self.unreadable:
            return False
        self._waiting[digest] = None
        return True

    async def _is_member(self, place: Place, digest: Digest) -> bool:
        try:
            member = await self._members.find(place, digest)
        except self.unreadable:
            return False
        return member is not None and member.life.visible

    @property
    def waiting(self) -> int:
        """How many blobs are to be copied."""
        return len(self._waiting)

    @asynccontextmanager
    async def renewed(self) -> AsyncIterator[None]:
        """Ask for what waits again and again, while this is entered."""
        task = asyncio.create_task(self._renew())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def copy(self, copied: Copied) -> None:
        """Copy all that waits into the pool, a few at a time."""

        async def one(digest: Digest) -> None:
            try:
                copied(await self._copy(digest))
            except Damaged as error:
                self.lacks(digest, error.reason)
            except NotFound:
                self.lacks(digest, "its bytes are not there")
            self._waiting.pop(digest, None)

        await each(list(self._waiting), one, at_once=_AT_ONCE)

    async def _copy(self, digest: Digest) -> int:
        try:
            pointer, content = await self._pointers.find(digest)
        except self.unreadable as error:
            raise Damaged(digest, str(error)) from error
        async with aclosing(self._pieces(digest, pointer.data, content)) as pieces:
            return await self._pool.keep(digest, pieces)

    async def _pieces(
        self, digest: Digest, data: str, content: bytes
    ) -> AsyncGenerator[bytes, None]:
        if not data:
            await self._throttle.wait(len(content))
            yield content
            return
        try:
            async with self._store.open(data) as reader:
                async for piece in reader:
                    await self._throttle.wait(len(piece))
                    yield piece
        except self.unreadable as error:
            raise Damaged(digest, str(error)) from error

    async def _renew(self) -> None:
        while True:
            await _pause(self._terms.patience)
            for digest in list(self._waiting):
                try:
                    await self._pointers.find(digest)
                except NotFound:
                    continue  # whoever copies it tells
                except (StorageError, Corrupt) as error:
                    _log.warning("%s could not be asked for again, it will be: %s", digest, error)
