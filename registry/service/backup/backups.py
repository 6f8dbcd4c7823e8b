"""Backups of one store of backups: made, listed, removed and verified."""

import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from registry.service.backup import layout, records
from registry.service.backup.held import Held
from registry.service.backup.layout import Descriptor, Summary
from registry.service.backup.pool import Damaged, Pool
from registry.service.backup.survey import Survey, Tenant
from registry.service.backup.tree import Tree
from registry.service.entries import Entries, value
from registry.service.listing import every_key
from registry.service.memberships import Memberships
from registry.service.records import Corrupt
from registry.service.terms import Terms
from registry.service.throttle import Throttle
from registry.spec.digest import Digest
from storage.coordination import Coordinator
from storage.ports import AlreadyExists, ContentStore, PreconditionFailed, Unavailable

LEASE: Final = "backup"
_ROUNDS: Final = 50


class BackupUnknown(Exception):
    """There is no such backup."""


class ProjectsUnknown(Exception):
    """Projects that are to be backed up are not there."""


@dataclass(frozen=True, slots=True)
class Backup:
    """A backup that is whole. ``id`` begins with the time when it was begun, in UTC."""

    id: str
    root: Descriptor
    summary: Summary


@dataclass(slots=True)
class Progress:
    """How far a backup is: ``step`` is ``reading`` or ``copying``; the rest counts what is done."""

    step: str = "reading"
    repositories: int = 0
    manifests: int = 0
    tags: int = 0
    blobs: int = 0
    bytes: int = 0
    waiting: int = 0


@dataclass(frozen=True, slots=True)
class Swept:
    """What was removed from the pool: blobs that no backup needs."""

    blobs: int = 0


Told = Callable[[Progress], None]
Report = Callable[[str, str], None]
"""Is told of what is missing or damaged, by its digest or its key, and why."""


class Backups:
    """The backups of one store. Whoever changes them has a lease of that store's coordinator.

    Where there is none that other machines know, one of them at a time may make or remove backups.
    """

    def __init__(
        self, store: ContentStore, coordinator: Coordinator, *, files: bool = False
    ) -> None:
        """``files``: what can't be read of ``store`` now is one file, not all of it."""
        self._store = store
        self._coordinator = coordinator
        self.pool = Pool(store, files=files)
        self.tree = Tree(self.pool)

    async def all(self) -> list[Backup]:
        """Every backup that is whole, the oldest first. ``Corrupt``."""
        return [_backup(root) for root in (await self._index())[0].manifests]

    async def find(self, wanted: str = "", *, at: float | None = None) -> Backup:
        """Return a backup by its id; without one the last, or the last that was read by ``at``.

        ``BackupUnknown``.
        """
        for backup in reversed(await self.all()):
            fits = backup.id == wanted if wanted else at is None or backup.summary.read <= at
            if fits:
                return backup
        raise BackupUnknown(wanted)

    async def create(
        self,
        source: ContentStore,
        terms: Terms,
        *,
        projects: bool,
        files: bool = False,
        names: Sequence[str] = (),
        per_second: float = 0.0,
        told: Told = lambda _: None,
        missing: Report = lambda _, __: None,
        wait: float = 0.0,
    ) -> Backup:
        """Back up ``names``, or all projects of the registry over ``source``, while clients push.

        ``projects``: it has projects; else the first segments of names are taken for them. First
        all tags and manifests are read, and what they need is held; then what the backups have not
        yet is copied, up to ``per_second`` bytes in a second (0: any number). One that breaks off
        leaves no backup; what it has copied is not copied again by the next. What can't be read as
        what it is, is told to ``missing`` and left out; with ``files`` also what can't be read at
        all: it is one file then. A project that is removed meanwhile is left out. ``LeaseHeld``
        where another is at work after ``wait`` seconds; ``ProjectsUnknown``.
        """
        progress, lacking = Progress(), 0

        def lacks(what: str, reason: str) -> None:
            nonlocal lacking
            lacking += 1
            missing(what, reason)

        def copied(size: int) -> None:
            progress.blobs += 1
            progress.bytes += size
            told(progress)

        async with self._coordinator.hold(LEASE, wait=wait):
            await self._store.put(layout.MARKER, layout.MARKED)
            began = terms.clock()
            members = Memberships(source, Entries(source, exact=True), terms)
            throttle = Throttle(per_second)
            held = Held(source, self.pool, members, terms, throttle, lacks, files=files)
            survey = Survey(source, self.pool, held, terms)
            async with held.renewed():
                tenants = _chosen(await survey.tenants(projects=projects), names)
                parts: list[Descriptor] = []
                for tenant in tenants:
                    part = await self._project(source, survey, tenant, progress, told)
                    if await survey.stands(tenant):
                        parts.append(part)
                    elif names:
                        raise ProjectsUnknown(tenant.name)
                if not names:
                    kept = await records.keep(self.pool, records.of_registry(source))
                    parts = [*([kept] if kept else []), *parts]
                read, progress.step, progress.waiting = terms.clock(), "copying", held.waiting
                await held.copy(copied)
            summary = Summary(
                began=began,
                read=read,
                ended=terms.clock(),
                projects=tuple(sorted(names)),
                repositories=progress.repositories,
                manifests=progress.manifests,
                tags=progress.tags,
                blobs=progress.blobs,
                bytes=progress.bytes,
                missing=lacking,
            )
            root = await self.pool.keep_document(layout.index_of(layout.BACKUP, tuple(parts)))
            stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(began))
            named = {
                layout.REF_NAME: f"{stamp}-{secrets.token_hex(3)}",
                layout.SUMMARY: summary.encode().decode(),
            }
            root = msgspec.structs.replace(root, annotations=named)
            await self._change(lambda standing: (*standing, root))
            return _backup(root)

    async def remove(self, wanted: str, *, wait: float = 0.0) -> Swept:
        """Remove a backup, and what only it needs. ``BackupUnknown``; ``LeaseHeld`` as ``create``.

        One that breaks off after the backup is gone leaves what ``sweep`` removes.
        """
        async with self._coordinator.hold(LEASE, wait=wait):
            await self.find(wanted)
            await self._change(
                lambda standing: tuple(root for root in standing if root.name != wanted)
            )
            return await self._sweep()

    async def sweep(self, *, wait: float = 0.0) -> Swept:
        """Remove what no backup needs: what was left by those that broke off. ``LeaseHeld``."""
        async with self._coordinator.hold(LEASE, wait=wait):
            return await self._sweep()

    async def verify(
        self, backups: Sequence[Backup], wrong: Report, *, per_second: float = 0.0
    ) -> int:
        """Read all that the backups need, once; tell of what is not as it should be.

        Return how many blobs were read.
        """
        throttle, looked = Throttle(per_second), 0
        async for digest in self.tree.needed([backup.root for backup in backups], wrong):
            looked += 1
            try:
                await throttle.wait(await self.pool.check(digest))
            except Damaged as error:
                wrong(digest, error.reason)
            except Unavailable as error:
                wrong(digest, str(error))
        return looked

    async def _project(
        self,
        source: ContentStore,
        survey: Survey,
        tenant: Tenant,
        progress: Progress,
        told: Told,
    ) -> Descriptor:
        kept = await records.keep(self.pool, records.of_project(source, tenant))
        parts = [kept] if kept else []
        async for place in survey.places(tenant.id):
            images = await survey.repository(place)
            index = layout.index_of(layout.REPOSITORY, tuple(images))
            named = {layout.REPOSITORY_NAME: tenant.name + place[len(tenant.id) :]}
            parts.append(
                msgspec.structs.replace(await self.pool.keep_document(index), annotations=named)
            )
            progress.repositories += 1
            progress.manifests += len({image.digest for image in images})
            progress.tags += sum(1 for image in images if image.name)
            told(progress)
        index = layout.index_of(layout.PROJECT, tuple(parts))
        named = {layout.NAME: tenant.name, layout.TENANT: tenant.id}
        return msgspec.structs.replace(await self.pool.keep_document(index), annotations=named)

    async def _sweep(self) -> Swept:
        """Remove what no backup needs. Nothing, where it can't be read what they need."""

        def unread(digest: Digest, reason: str) -> None:
            raise Corrupt(f"{digest} of a backup can't be read, so nothing is removed: {reason}")

        roots = (await self._index())[0].manifests
        needed = {digest async for digest in self.tree.needed(roots, unread)}
        removed = 0
        async for key in every_key(self._store, layout.BLOBS):
            digest = layout.blob_digest(key)
            if digest is not None and digest not in needed:
                await self.pool.remove(digest)
                removed += 1
        return Swept(removed)

    async def _index(self) -> tuple[layout.Index, str | None]:
        found = await value(self._store, layout.INDEX)
        if found is None:
            return layout.index_of("", ()), None
        return layout.Index.decode(found.data), found.version

    async def _change(
        self, change: Callable[[tuple[Descriptor, ...]], tuple[Descriptor, ...]]
    ) -> None:
        """Change which backups there are, by compare-and-swap."""
        for _ in range(_ROUNDS):
            index, version = await self._index()
            after = msgspec.structs.replace(index, manifests=change(index.manifests)).encode()
            try:
                if version is None:
                    await self._store.create(layout.INDEX, after)
                else:
                    await self._store.replace(layout.INDEX, after, version)
            except (AlreadyExists, PreconditionFailed):
                continue
            return
        raise Unavailable(layout.INDEX, "too many others are changing it")


def _backup(root: Descriptor) -> Backup:
    summary = Summary.decode(root.annotations.get(layout.SUMMARY, "").encode())
    return Backup(root.name, root, summary)


def _chosen(tenants: Sequence[Tenant], names: Sequence[str]) -> Sequence[Tenant]:
    unknown = set(names) - {tenant.name for tenant in tenants}
    if unknown:
        raise ProjectsUnknown(", ".join(sorted(unknown)))
    return [tenant for tenant in tenants if tenant.name in names or not names]
