"""Counting what a project holds, by listing its own keys."""

import asyncio
from dataclasses import dataclass
from typing import Final

from registry.service.entries import value
from registry.service.listing import every_key
from registry.service.presence import exists
from registry.service.records import Corrupt, Pointer, UploadRecord
from registry.service.unreadable import tell_unreadable
from registry.spec.digest import Digest
from registry.spec.names import Place
from registry.spec.quota import Amounts
from storage import keys
from storage.ports import NotFound, ObjectStore

_AT_ONCE: Final = 32


@dataclass(frozen=True, slots=True)
class Tallied:
    """What was found: all of it, and the bytes of content that differs (``physical``)."""

    amounts: Amounts
    physical: int


class _Sum:
    """Sums while it goes; the size of each blob is read once."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._sizes: dict[Digest, int] = {}
        self.bytes = self.physical = self.repositories = self.tags = 0
        self._manifests: set[str] = set()

    async def add(self, key: str) -> None:
        """Add what is at one key of a repository."""
        _, kind, rest = keys.repository_parts(key)
        if kind == "tags":
            self.tags += 1
        elif kind == "blobs":
            await self._add_blob(Digest(rest))
        elif kind == "manifests":
            try:
                size = (await self._store.stat(key)).size
            except NotFound:
                return
            self.bytes += size
            if rest not in self._manifests:
                self._manifests.add(rest)
                self.physical += size

    async def _add_blob(self, digest: Digest) -> None:
        size = self._sizes.get(digest)
        if size is None:
            found = await value(self._store, keys.pointer(digest))
            size = Pointer.unpack(found.data)[0].size if found is not None else 0
            if digest not in self._sizes:
                self._sizes[digest] = size
                self.physical += size
        self.bytes += size


class Tally:
    """Counts. It costs a listing of the project's keys and a read for each blob and manifest."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    async def of(self, tenant: str) -> Tallied:
        """Count what the project with this id holds.

        Upload sessions first: of one that becomes a blob meanwhile, one of the two is seen. What
        comes or goes meanwhile may be counted or not; a session whose record can't be read is not.
        Memory: some 100 bytes for each blob.
        """
        found = _Sum(self._store)
        async for key in every_key(self._store, keys.UPLOADS):
            record = await value(self._store, key)
            if record is None:
                continue
            try:
                upload = UploadRecord.decode(record.data)
            except Corrupt as error:
                tell_unreadable(key, error)
                continue
            if upload.tenant == tenant:
                found.bytes += upload.charged
        root = Place(tenant)
        for prefix in (keys.repositories(root), keys.repositories_below(tenant)):
            batch: list[str] = []
            async for key in every_key(self._store, prefix):
                batch.append(key)
                if len(batch) == _AT_ONCE:
                    await asyncio.gather(*map(found.add, batch))
                    batch = []
            await asyncio.gather(*map(found.add, batch))
        found.repositories += await exists(self._store, keys.catalog(root))
        async for _ in every_key(self._store, keys.cataloged(tenant)):
            found.repositories += 1
        return Tallied(Amounts(found.bytes, found.repositories, found.tags), found.physical)
