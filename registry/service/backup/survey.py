"""What there is to be backed up, read while clients push: projects, repositories, their images."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from registry.service.backup import layout
from registry.service.backup.held import Held
from registry.service.backup.pool import Pool
from registry.service.bounded import each
from registry.service.deleted import kept
from registry.service.entries import value
from registry.service.images import CHECKS
from registry.service.listing import every_key
from registry.service.presence import exists
from registry.service.projects.records import ProjectRecord
from registry.service.records import Corrupt, TagRecord
from registry.service.stored import StoredManifest
from registry.service.terms import Terms
from registry.spec.digest import Digest
from registry.spec.errors import DigestMismatch, RegistryError
from registry.spec.manifest import Manifest
from registry.spec.names import Place, Tag
from storage import keys
from storage.ports import ContentStore

_ROUNDS: Final = 10


@dataclass(frozen=True, slots=True)
class Tenant:
    """A project: its name and the id that its content is kept under.

    They are the same where there are no projects. ``recorded``: it has a record.
    """

    name: str
    id: str
    recorded: bool


@dataclass(slots=True)
class Reading:
    """One repository while it is read."""

    place: Place
    manifests: dict[Digest, layout.Descriptor | None] = field(default_factory=dict)
    locks: defaultdict[Digest, asyncio.Lock] = field(
        default_factory=lambda: defaultdict(asyncio.Lock)
    )
    children: set[Digest] = field(default_factory=set)
    damaged: set[Digest] = field(default_factory=set)
    tags: dict[Tag, tuple[TagRecord, bytes]] = field(default_factory=dict)


class Survey:
    """Reads what there is, and has its blobs held."""

    def __init__(self, store: ContentStore, pool: Pool, held: Held, terms: Terms) -> None:
        """Keep manifests in ``pool`` as they are read."""
        self._store = store
        self._pool = pool
        self._held = held
        self._terms = terms

    async def tenants(self, *, projects: bool) -> list[Tenant]:
        """Every project; without ``projects``, the first segments of all repositories' names."""
        if projects:
            found = []
            async for key in every_key(self._store, keys.PROJECTS):
                try:
                    number = await self._number(key)
                except self._held.unreadable as error:
                    self._held.lacks(key, str(error))
                    continue
                if number is not None:
                    found.append(Tenant(keys.project_name(key), number, recorded=True))
            return found
        catalog = every_key(self._store, keys.CATALOG)
        names = {keys.catalog_place(key).tenant async for key in catalog}
        return [Tenant(name, name, recorded=False) for name in sorted(names)]

    async def stands(self, tenant: Tenant) -> bool:
        """Whether a project is there still: then it was while it was read."""
        if not tenant.recorded:
            return True
        return await self._number(keys.project(tenant.name)) == tenant.id

    async def _number(self, key: str) -> str | None:
        stored = await value(self._store, key)
        return ProjectRecord.decode(stored.data).id if stored is not None else None

    async def places(self, tenant: str) -> AsyncIterator[Place]:
        """Every repository of a project, the one that is named after it first."""
        root = Place(tenant)
        if await exists(self._store, keys.catalog(root)):
            yield root
        async for key in every_key(self._store, keys.cataloged(tenant)):
            yield keys.catalog_place(key)

    async def repository(self, place: Place) -> Sequence[layout.Descriptor]:
        """Read a repository; return descriptors of all its images, once for each tag.

        Tags are read first: a tag that was there when this began is there, as it was at one moment
        until this ended, and its image is whole. Each is put into the pool, and its blobs are held,
        before this returns.
        """
        reading = Reading(place)
        tags = every_key(self._store, keys.tags(place))
        await each(tags, lambda key: self._tag(reading, key), at_once=CHECKS)
        manifests = every_key(self._store, keys.manifests(place))
        await each(manifests, lambda key: self._manifest(reading, _last(key)), at_once=CHECKS)
        while children := reading.children - reading.manifests.keys():
            await each(children, lambda child: self._manifest(reading, child), at_once=CHECKS)
        return _descriptors(reading)

    async def _tag(self, reading: Reading, key: str) -> None:
        """Read a tag and what it leads to; once more, where that was deleted in between."""
        for _ in range(_ROUNDS):
            try:
                found = await value(self._store, key)
                if found is None:
                    return
                record = TagRecord.decode(found.data)
            except self._held.unreadable as error:
                self._held.lacks(key, str(error))
                return
            if await self._manifest(reading, record.target) is not None:
                reading.tags[Tag(keys.last_segment(key))] = (record, found.data)
                return
            if record.target in reading.damaged:
                return
            reading.manifests.pop(record.target, None)
        self._held.lacks(record.target, f"{key} leads to it, and it is not there")

    async def _manifest(self, reading: Reading, digest: Digest) -> layout.Descriptor | None:
        """Read a manifest, once; ``None`` where there is none, nor a copy of a deleted one."""
        async with reading.locks[digest]:
            if digest not in reading.manifests:
                reading.manifests[digest] = await self._take(reading, digest)
            return reading.manifests[digest]

    async def _take(self, reading: Reading, digest: Digest) -> layout.Descriptor | None:
        """Read a manifest and have its blobs held, in less time than the patience.

        It was there, so its blobs were needed; the promise came before that could have been over.
        """
        while True:
            began = self._terms.pace()
            try:
                stored = await kept(self._store, reading.place, digest, self._terms.clock())
                if stored is None:
                    return None
                manifest = await _parsed(stored)
            except self._held.unreadable as error:
                reading.damaged.add(digest)
                self._held.lacks(digest, str(error))
                return None
            blobs = sorted({blob.digest for blob in (*manifest.blobs, *manifest.foreign)})
            held = [await self._held.promise(reading.place, blob) for blob in blobs]
            if self._terms.pace() - began <= self._terms.patience:
                break
        await self._pool.keep_bytes(digest, stored.data)
        reading.children.update(child.digest for child in manifest.manifests)
        lacking = [blob for blob, there in zip(blobs, held, strict=True) if not there]
        needed = {layer.digest for layer in manifest.blobs}
        for blob in filter(needed.__contains__, lacking):
            self._held.lacks(blob, f"{reading.place} holds no good bytes of it")
        return layout.Descriptor(
            media_type=stored.media_type,
            digest=digest,
            size=len(stored.data),
            annotations={layout.LACKS: " ".join(lacking)} if lacking else {},
        )


async def _parsed(stored: StoredManifest) -> Manifest:
    """Compare a manifest with its digest and parse it. ``Corrupt``."""
    try:
        return await stored.verified()
    except DigestMismatch as error:
        raise Corrupt(f"its bytes are those of {error.actual}") from error
    except RegistryError as error:
        raise Corrupt(error.message) from error


def _last(key: str) -> Digest:
    return Digest(keys.last_segment(key))


def _descriptors(reading: Reading) -> Sequence[layout.Descriptor]:
    """What the repository has, in the order of digests and tags: unchanged, the same bytes."""
    by_target: dict[Digest, list[Tag]] = {}
    for tag, (record, _) in sorted(reading.tags.items()):
        by_target.setdefault(record.target, []).append(tag)
    found: list[layout.Descriptor] = []
    for digest, plain in sorted(reading.manifests.items()):
        if plain is None:
            continue
        if digest not in by_target:
            found.append(plain)
        for tag in by_target.get(digest, ()):
            named = {layout.REF_NAME: tag, layout.TAG: reading.tags[tag][1].decode()}
            annotations = {**plain.annotations, **named}
            found.append(
                layout.Descriptor(
                    media_type=plain.media_type,
                    digest=plain.digest,
                    size=plain.size,
                    annotations=annotations,
                )
            )
    return found
