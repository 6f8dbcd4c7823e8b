"""Deleted manifests: what is kept of them for a while, so that they can be had back."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from registry.service.bounded import all_of
from registry.service.collection.candidates import Candidates
from registry.service.entries import value
from registry.service.listing import every_key
from registry.service.presence import exists
from registry.service.records import DeletedRecord, TagRecord
from registry.service.stored import StoredManifest
from registry.service.terms import Terms
from registry.spec.digest import Digest
from registry.spec.errors import ManifestUnknown
from registry.spec.manifest import Manifest
from registry.spec.names import Place, Tag
from storage import keys
from storage.ports import ObjectStore


@dataclass(frozen=True, slots=True)
class DeletedManifest:
    """What can be had back: by whom and when it was deleted, until when (Unix seconds), its tags.

    ``size`` is the manifest's own, in bytes.
    """

    digest: Digest
    media_type: str
    size: int
    at: float
    until: float
    by: str
    tags: Sequence[Tag]


async def kept(
    store: ObjectStore, repository: Place, digest: Digest, now: float
) -> StoredManifest | None:
    """The manifest, also one that was deleted and can be had back ``now``; ``None`` for neither."""
    found = await value(store, keys.manifest(repository, digest))
    if found is not None:
        return StoredManifest.unpack(digest, found.data)
    found = await value(store, keys.deleted(repository, digest))
    if found is None:
        return None
    record, stored = DeletedRecord.unpack(found.data)
    return StoredManifest.unpack(digest, stored) if record.until > now else None


class Deleted:
    """Keeps what was deleted. Its blobs stay as long as it can be had back."""

    def __init__(self, store: ObjectStore, candidates: Candidates, terms: Terms) -> None:
        self._store = store
        self._candidates = candidates
        self._terms = terms

    async def keep(
        self, repository: Place, stored: StoredManifest, manifest: Manifest, by: str
    ) -> None:
        """Write down that a manifest is being deleted, and when to look at what it needed."""
        noting = self.note(repository, stored.digest, manifest)
        kept = [self._keep(repository, stored, by)] if self._terms.window else []
        await all_of([noting, *kept])

    async def note(self, repository: Place, digest: Digest, manifest: Manifest) -> None:
        """Write down when to look at what a manifest needs that is gone within the patience.

        Who takes longer to delete it notes it again afterwards: the collector may have looked
        before it was gone.
        """
        blobs = sorted({each.digest for each in manifest.blobs})
        wait = self._terms.window + self._terms.patience
        await self._candidates.add(repository, manifest=digest, members=blobs, wait=wait)

    async def _keep(self, repository: Place, stored: StoredManifest, by: str) -> None:
        now = self._terms.clock()
        tags = await self.tags_of(repository, stored.digest)
        record = DeletedRecord(now, now + self._terms.window, by, tuple(tags))
        await self._store.put(keys.deleted(repository, stored.digest), record.pack(stored.pack()))

    async def find(self, repository: Place, digest: Digest) -> tuple[StoredManifest, Sequence[Tag]]:
        """Return the manifest and the tags that led to it.

        ``ManifestUnknown`` where it was not deleted, or too long ago.
        """
        found = await value(self._store, keys.deleted(repository, digest))
        if found is None:
            raise ManifestUnknown(digest)
        record, stored = DeletedRecord.unpack(found.data)
        if record.until <= self._terms.clock():
            raise ManifestUnknown(digest)
        return StoredManifest.unpack(digest, stored), [Tag(tag) for tag in record.tags]

    async def forget(self, repository: Place, digest: Digest) -> None:
        """It has been had back."""
        await self._store.delete(keys.deleted(repository, digest))

    async def page(
        self, repository: Place, after: str, limit: int
    ) -> tuple[Sequence[DeletedManifest], str]:
        """Return what can be had back after the digest ``after``; and where to go on, or ``""``.

        At most ``limit`` records are read for it.
        """
        prefix = keys.all_deleted(repository)
        found = await self._store.list(prefix, after=prefix + after if after else "", limit=limit)
        items = []
        for key in found:
            digest = Digest(keys.last_segment(key))
            read = await value(self._store, key)
            if read is None or await exists(self._store, keys.manifest(repository, digest)):
                continue
            record, data = DeletedRecord.unpack(read.data)
            if record.until > self._terms.clock():
                stored = StoredManifest.unpack(digest, data)
                tags = [Tag(tag) for tag in record.tags]
                items.append(
                    DeletedManifest(
                        digest,
                        stored.media_type,
                        len(stored.data),
                        record.at,
                        record.until,
                        record.by,
                        tags,
                    )
                )
        return items, keys.last_segment(found[-1]) if len(found) == limit else ""

    async def tags_of(self, repository: Place, digest: Digest) -> list[Tag]:
        """The tags that lead to the manifest."""
        tags: dict[Tag, None] = {}
        async for tag in linked(self._store, repository, digest):
            found = await value(self._store, keys.tag(repository, tag))
            if found is not None and TagRecord.decode(found.data).target == digest:
                tags[tag] = None
        return list(tags)


async def linked(store: ObjectStore, repository: Place, digest: Digest) -> AsyncIterator[Tag]:
    """Yield the tags that may point at the manifest, some of them twice.

    A link is written with the push; a collector puts it elsewhere, and then removes it there. So
    none is missed that is looked for in this order.
    """
    async for key in every_key(store, keys.pushed_to(repository, digest)):
        if tag := keys.pushed_parts(key)[1]:
            yield Tag(tag)
    prefix = keys.tagged(repository, digest)
    async for key in every_key(store, prefix):
        yield Tag(key[len(prefix) :])
