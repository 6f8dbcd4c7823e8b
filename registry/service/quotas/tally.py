"""Counting what a project holds, by listing its own keys."""

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from registry.service.bounded import each
from registry.service.entries import value
from registry.service.listing import every_key
from registry.service.mounts import mounted_of
from registry.service.presence import exists
from registry.service.records import Corrupt, Pointer, UploadRecord
from registry.service.unreadable import tell_unreadable
from registry.spec.digest import Digest
from registry.spec.names import Place
from registry.spec.quota import Amounts
from storage import keys
from storage.ports import NotFound, ObjectStore

_AT_ONCE: Final = 32
_SESSIONS_AT_ONCE: Final = 8
"""Each record may hold 512 KiB of its session's bytes."""


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
        self.bytes = self.physical = self.tags = 0
        self._manifests: set[str] = set()
        self.mounted: set[tuple[Place, Digest]] = set()

    async def add(self, key: str) -> None:
        """Add what is at one key of a repository."""
        place, kind, rest = keys.repository_parts(key)
        if kind == "tags":
            self.tags += 1
        elif kind == "blobs":
            self.mounted.discard((place, Digest(rest)))
            await self.add_blob(Digest(rest))
        elif kind == "manifests":
            try:
                size = (await self._store.stat(key)).size
            except NotFound:
                return
            self.bytes += size
            if rest not in self._manifests:
                self._manifests.add(rest)
                self.physical += size

    async def add_blob(self, digest: Digest) -> None:
        """Add a blob that a repository holds."""
        size = self._sizes.get(digest)
        if size is None:
            found = await value(self._store, keys.pointer(digest))
            size = Pointer.unpack(found.data)[0].size if found is not None else 0
            if digest not in self._sizes:
                self._sizes[digest] = size
                self.physical += size
        self.bytes += size


class Tally:
    """Counts: upload sessions of many projects at once, and then what each of these holds."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    async def sessions(self, tenants: Collection[str]) -> Mapping[str, int]:
        """The bytes of open upload sessions that count in these projects; 0 for one without any.

        Costs a read for each session of the registry. One whose record can't be read does not
        count, and is told.
        """
        found: defaultdict[str, int] = defaultdict(int)

        async def add(key: str) -> None:
            record = await value(self._store, key)
            if record is None:
                return
            try:
                upload = UploadRecord.decode(record.data)
            except Corrupt as error:
                tell_unreadable(key, error)
                return
            if upload.tenant in tenants:
                found[upload.tenant] += upload.charged

        if tenants:
            await each(every_key(self._store, keys.UPLOADS), add, at_once=_SESSIONS_AT_ONCE)
        return found

    async def of(self, tenant: str, sessions: int) -> Tallied:
        """Count what the project with this id holds, beside the bytes of its ``sessions``.

        What comes or goes meanwhile may be counted or not. Costs a listing of the project's keys,
        and a read for each blob and manifest. Memory: some 100 bytes for each blob.
        """
        found = _Sum(self._store)
        root = Place(tenant)
        # What was mounted at once first, and then the members that are made of it.
        async for place, blobs in mounted_of(self._store, tenant):
            found.mounted.update((place, digest) for digest in blobs)
        for prefix in (keys.repositories(root), keys.repositories_below(tenant)):
            await each(every_key(self._store, prefix), found.add, at_once=_AT_ONCE)
        left = [digest for _, digest in found.mounted]
        await each(left, found.add_blob, at_once=_AT_ONCE)
        repositories = int(await exists(self._store, keys.catalog(root)))
        async for _ in every_key(self._store, keys.cataloged(tenant)):
            repositories += 1
        amounts = Amounts(sessions + found.bytes, repositories, found.tags)
        return Tallied(amounts, found.physical)
