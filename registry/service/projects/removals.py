"""Purging what removed projects have left: in the background, resumable, with visible progress.

A project is gone for everybody from its tombstone on, and nothing that is kept under its id can be
reached any more. So what is left may be taken away in any order, by any process, as often as it
likes. Blobs leave their repositories here; their bytes are for the collector of garbage.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import msgspec

from auth.access import Tenant
from auth.identity import Identity, Kind
from auth.policy import Action, Deny, Policy, Verb
from registry.service.blobs import Blobs
from registry.service.bounded import each
from registry.service.collection.candidates import Candidates
from registry.service.collection.findings import NOWHERE
from registry.service.listing import every_key
from registry.service.mounts import mounted_of
from registry.service.projects.events import EventKind, Events, event
from registry.service.projects.kept import Kept, Leaf, Records
from registry.service.projects.names import may_be_tenant
from registry.service.projects.projects import Projects
from registry.service.projects.records import (
    MemberRecord,
    RemovalRecord,
    ShareRecord,
    TenantRecord,
)
from registry.service.projects.stamps import ACCESS, principal_stamp, project_stamp
from registry.service.quotas.quotas import Quotas
from registry.service.uploads import Uploads
from registry.spec.digest import Digest
from registry.spec.names import Place
from registry.spec.problems import ProjectUnknown
from storage import keys
from storage.coordination import CoordinationUnavailable, Coordinator, LeaseHeld
from storage.ports import ObjectStore, StorageError

_log = logging.getLogger("moorage.projects")

SETTLE: Final = 24 * 3600.0
"""Seconds between the first pass and the last. A request that was under way when its project was
removed may write something after the first one; none lasts for so long."""

INTERVAL: Final = 15.0
"""Seconds between two looks for removed projects."""

_PURGER: Final = Identity("system:purger", Kind.SYSTEM)
_BATCH: Final = 32
_SAVE: Final = 1000


class Progress(StrEnum):
    """How far a removal is."""

    PURGING = "purging"
    """What the project held is being taken away."""

    SETTLING = "settling"
    """All of it has been; it is looked once more for what was under way."""

    PURGED = "purged"


@dataclass(frozen=True, slots=True)
class Removal:
    """A removed project: by whom and when (Unix seconds), and how many keys of it are gone."""

    tenant: Tenant
    by: str
    at: float
    keys: int
    progress: Progress


class Removals:
    """Purges removed projects, and tells how far that is."""

    def __init__(
        self,
        store: ObjectStore,
        coordinator: Coordinator,
        policy: Policy,
        projects: Projects,
        blobs: Blobs,
        uploads: Uploads,
        events: Events,
        candidates: Candidates,
        quotas: Quotas,
        *,
        settle: float = SETTLE,
        last: Callable[[str], Awaitable[object]] | None = None,
    ) -> None:
        """Ask ``policy`` before anything is purged; look once more after ``settle`` seconds.

        ``last`` takes away, when all else is gone, what was still to tell of that.
        """
        self._last = last
        self._store = store
        self._coordinator = coordinator
        self._policy = policy
        self._projects = projects
        self._blobs = blobs
        self._uploads = uploads
        self._events = events
        self._candidates = candidates
        self._quotas = quotas
        self._settle = settle
        self._records = Records(store, RemovalRecord)
        self._tenants = Records(store, TenantRecord)
        self._members = Records(store, MemberRecord)
        self._shares = Records(store, ShareRecord)

    async def page(self, after: str, limit: int) -> Leaf[Removal]:
        """Return removals that have not ended, after the project's id ``after``."""
        first = keys.removal(after) if after else ""
        leaf = await self._records.page(keys.REMOVALS, first, limit)
        return Leaf([_pending(each) for each in leaf.items], leaf.more)

    async def get(self, tenant: str) -> Removal:
        """Return how far the removal of the project with this id is, also once it has ended.

        ``ProjectUnknown`` if there was no such project, or if it was not removed.
        """
        if not may_be_tenant(tenant):
            raise ProjectUnknown
        pending = await self._records.find(keys.removal(tenant))
        if pending is not None:
            return _pending(pending)
        kept = await self._tenants.find(keys.tenant_name(tenant))
        if kept is None or kept.record.removed is None:
            raise ProjectUnknown
        record = kept.record
        whose = Tenant(tenant, record.name)
        return Removal(whose, record.removed_by, record.removed or 0, record.keys, Progress.PURGED)

    async def run(self, interval: float = INTERVAL) -> None:
        """Purge for ever. What fails is logged and tried again."""
        while True:
            try:
                await self.purge_due()
            except (StorageError, CoordinationUnavailable, LeaseHeld) as error:
                _log.warning("removed projects could not be purged, they will be: %s", error)
            await asyncio.sleep(interval)

    async def purge_due(self) -> int:
        """Purge every removed project that is due; return how many passes were made.

        Of several processes, one works on one project at a time; the others leave it alone.
        """
        passes = 0
        async for key in every_key(self._store, keys.REMOVALS):
            tenant = keys.last_segment(key)
            try:
                async with self._coordinator.hold(key):
                    standing = await self._records.find(key)
                    if standing is not None and standing.record.due <= time.time():
                        await self._pass(Tenant(tenant, standing.record.name), standing)
                        passes += 1
            except LeaseHeld:
                continue
        return passes

    async def _pass(self, tenant: Tenant, standing: Kept[RemovalRecord]) -> None:
        if not await self._allowed(tenant):
            # The process that removed it died between the tombstone and the name.
            await self._projects.finish_removal(tenant)
            if not await self._allowed(tenant):
                return
        meter = _Meter(self._records, standing)
        await self._purge(tenant, meter)
        record = msgspec.structs.replace(
            meter.standing.record,
            keys=meter.keys,
            passes=standing.record.passes + 1,
            due=time.time() + self._settle,
        )
        if record.passes == 1 and self._settle:
            await self._records.write(standing.key, record, meter.standing)
            return
        await self._end(tenant, record)

    async def _allowed(self, tenant: Tenant) -> bool:
        decision = await self._policy.decide(_PURGER, Action(Verb.PURGE, project=tenant.id))
        return not isinstance(decision, Deny)

    async def _purge(self, tenant: Tenant, meter: "_Meter") -> None:
        await self._end_memberships(tenant, meter)
        await self._end_shares(tenant, meter)
        await meter.add(await self._uploads.drop_of(tenant.id))
        root = Place(tenant.id)
        async for place, blobs in mounted_of(self._store, tenant.id):
            await self._tell_unheld(sorted(blobs))
            await self._store.delete(keys.mounted(place))
            await meter.add(1)
        for prefix in (keys.repositories(root), keys.repositories_below(tenant.id)):
            found = every_key(self._store, prefix)
            await self._each(found, self._drop_content, meter, self._tell_collector)
        await self._drop_entry(keys.catalog(root))
        await self._each(every_key(self._store, keys.cataloged(tenant.id)), self._drop_entry, meter)
        await self._each(every_key(self._store, keys.robots(tenant.id)), self._store.delete, meter)
        for key in (keys.tag_rules(tenant.id), keys.retention(tenant.id), keys.retained(tenant.id)):
            await self._store.delete(key)
        await self._quotas.forget(tenant.id)

    async def _drop_content(self, key: str) -> None:
        place, kind, rest = keys.repository_parts(key)
        if kind == "blobs":
            await self._blobs.purge(place, Digest(rest))
        else:
            await self._store.delete(key)

    async def _tell_collector(self, batch: list[str]) -> None:
        found = map(keys.repository_parts, batch)
        await self._tell_unheld([rest for _, kind, rest in found if kind == "blobs"])

    async def _tell_unheld(self, digests: Sequence[str]) -> None:
        """Tell of blobs that may be without a repository soon, before they are."""
        if digests:
            await self._candidates.add(NOWHERE, pointers=digests, wait=self._candidates.patience)

    async def _drop_entry(self, key: str) -> None:
        async with self._coordinator.change(f"catalog/{keys.catalog_place(key)}"):
            await self._store.delete(key)

    async def _end_memberships(self, tenant: Tenant, meter: "_Meter") -> None:
        async for key in every_key(self._store, keys.members(tenant.id)):
            principal = keys.principal_of(keys.last_segment(key))
            names = (project_stamp(tenant.name), principal_stamp(principal))
            async with self._coordinator.change(*names):
                # A later project of that name may have the same member: its index entry stays.
                now = await self._projects.named(tenant.name)
                if now is None or not await self._members.find(keys.member(now.id, principal)):
                    await self._store.delete(keys.part(principal, tenant.name))
                await self._store.delete(key)
            await meter.add(1)

    async def _end_shares(self, tenant: Tenant, meter: "_Meter") -> None:
        async for key in every_key(self._store, keys.shares(tenant.id)):
            kept = await self._shares.find(key)
            if kept is None:
                continue
            target = kept.record.target
            async with self._coordinator.change(project_stamp(tenant.name), ACCESS):
                now = await self._projects.named(tenant.name)
                # As for members; an entry too many does no harm.
                if now is None:
                    await self._store.delete(keys.shared(tenant.name, target))
                await self._store.delete(key)
            await meter.add(1)

    async def _each(
        self,
        found: AsyncIterator[str],
        drop: Callable[[str], Awaitable[object]],
        meter: "_Meter",
        before: Callable[[list[str]], Awaitable[None]] | None = None,
    ) -> None:
        async def end(batch: list[str]) -> None:
            if before is not None:
                await before(batch)
            await each(batch, drop, at_once=_BATCH)
            await meter.add(len(batch))

        batch: list[str] = []
        async for key in found:
            batch.append(key)
            if len(batch) == _BATCH:
                await end(batch)
                batch = []
        await end(batch)

    async def _end(self, tenant: Tenant, record: RemovalRecord) -> None:
        """Write down that nothing is left, then forget the tombstone. The id stays taken."""
        if self._last is not None:
            await self._last(tenant.id)
        kept = await self._tenants.find(keys.tenant_name(tenant.id))
        if kept is not None and kept.record.purged is None:
            ended = msgspec.structs.replace(
                kept.record,
                removed=record.at,
                removed_by=record.by,
                purged=time.time(),
                keys=record.keys,
            )
            await self._tenants.write(kept.key, ended, kept)
        await self._store.delete(keys.removal(tenant.id))
        await self._events(
            event(EventKind.PROJECT_PURGED, _PURGER, tenant.name, tenant, keys=record.keys)
        )


class _Meter:
    """Counts what is gone, and writes it down now and then."""

    def __init__(self, records: Records[RemovalRecord], standing: Kept[RemovalRecord]) -> None:
        self._records = records
        self.standing = standing
        self.keys = standing.record.keys
        self._saved = self.keys

    async def add(self, count: int) -> None:
        self.keys += count
        if self.keys - self._saved >= _SAVE:
            record = msgspec.structs.replace(self.standing.record, keys=self.keys)
            self.standing = await self._records.write(self.standing.key, record, self.standing)
            self._saved = self.keys


def _pending(kept: Kept[RemovalRecord]) -> Removal:
    record = kept.record
    whose = Tenant(keys.last_segment(kept.key), record.name)
    progress = Progress.SETTLING if record.passes else Progress.PURGING
    return Removal(whose, record.by, record.at, record.keys, progress)
