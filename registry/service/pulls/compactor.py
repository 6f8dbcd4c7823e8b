"""Merges the batches that processes wrote into one record for each tag and digest."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from registry.service.bounded import each
from registry.service.listing import every_key
from registry.service.projects.kept import Records
from registry.service.pulls.history import Pull, PullBatch, PulledRecord
from registry.service.records import Corrupt
from registry.service.throttle import resting
from storage import keys
from storage.coordination import Coordinator
from storage.ports import AlreadyExists, NotFound, ObjectStore, PreconditionFailed

_log = logging.getLogger("moorage.pulls")

LEASE: Final = "pulls"

BATCHES: Final = 64
"""Batches of one project that are merged at once."""

PULLS: Final = 20_000
"""Pulls after which no further batch is taken along: bounds the memory of a pass."""

_NAMES: Final = 128
_AT_ONCE: Final = 2
"""Few: nobody waits for the history, and clients do for the store."""

_TRIES: Final = 4


@dataclass(slots=True)
class Merged:
    """What a pass did: batches that were merged, records that were written."""

    batches: int = 0
    records: int = 0


class Compactor:
    """Merges. Of several processes one does, under a lease; losing that never counts twice."""

    def __init__(self, store: ObjectStore, coordinator: Coordinator) -> None:
        self._store = store
        self._coordinator = coordinator
        self._records = Records(store, PulledRecord)

    async def compact(self) -> Merged:
        """Merge all batches that there are. ``LeaseHeld`` where another process is at it.

        It may be broken off at any moment: a batch goes when all of it has been merged, and each
        record names the batches that it has. ``StorageError``.
        """
        done = Merged()
        async with self._coordinator.hold(LEASE):
            tenant, size = "", 0
            some: dict[str, tuple[Pull, ...]] = {}
            async for key in every_key(self._store, keys.PULLS):
                whose = keys.pull_batch_tenant(key)
                if some and (whose != tenant or len(some) == BATCHES or size >= PULLS):
                    await self._merge(some, done)
                    some, size = {}, 0
                tenant = whose
                batch = await self._read(key)
                if batch is not None:
                    some[key] = batch
                    size += len(batch)
            if some:
                await self._merge(some, done)
        return done

    async def _read(self, key: str) -> tuple[Pull, ...] | None:
        """Return what a batch holds; ``None`` for one that this version can't read: it stays."""
        try:
            return PullBatch.decode((await self._store.get(key)).data).pulls
        except NotFound:
            return ()
        except Corrupt as error:
            _log.warning("%s is left as it is: %s", key, error)
            return None

    async def _merge(self, batches: Mapping[str, tuple[Pull, ...]], done: Merged) -> None:
        found: dict[str, dict[str, Pull]] = {}
        for key, pulls in batches.items():
            for pull in pulls:
                record = keys.pulled_by_text(pull.place, pull.reference)
                found.setdefault(record, {})[keys.last_segment(key)] = pull

        async def one(key: str) -> None:
            async with resting():
                written = await self._add(key, found[key])
            done.records += written

        await each(found, one, at_once=_AT_ONCE)
        await each(batches, self._store.delete, at_once=_AT_ONCE)
        done.batches += len(batches)

    async def _add(self, key: str, parts: Mapping[str, Pull]) -> bool:
        """Add what the record does not have yet; whether there was any."""
        for attempt in range(_TRIES):
            standing = await self._records.find(key)
            record = standing.record if standing else PulledRecord(0, 0.0, "", "")
            fresh = {name: pull for name, pull in parts.items() if name not in record.merged}
            if not fresh:
                return False
            try:
                await self._records.write(key, _sum(record, fresh), standing)
            except (AlreadyExists, PreconditionFailed):  # another compactor: the lease was lost
                if attempt == _TRIES - 1:
                    raise
                continue
            return True
        return False  # pragma: no cover


def _sum(record: PulledRecord, parts: Mapping[str, Pull]) -> PulledRecord:
    latest = max(parts.values(), key=lambda pull: pull.last)
    count = record.count + sum(pull.count for pull in parts.values())
    merged = (*record.merged, *parts)[-_NAMES:]
    if record.last > latest.last:
        return PulledRecord(count, record.last, record.by, record.digest, merged)
    return PulledRecord(count, latest.last, latest.by, latest.digest, merged)
