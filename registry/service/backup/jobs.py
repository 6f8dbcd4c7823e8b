"""Work on backups that was asked for: written down, and done by one process at a time."""

import contextlib
import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import msgspec

from registry.service.backup.backups import Backup
from registry.service.entries import value
from registry.service.listing import every_key
from registry.service.presence import exists
from registry.service.records import Corrupt, Record
from registry.service.terms import Terms
from registry.spec.problems import BackupJobUnknown, TooMany
from storage import keys
from storage.coordination import CoordinationUnavailable, Coordinator, LeaseHeld
from storage.ports import ObjectStore, Unavailable

_log = logging.getLogger("moorage.backup")

LEASE: Final = "backup-jobs"
MOST_WAITING: Final = 20
_TRIES: Final = 3
_WAITS: Final = 100
_LONGEST_WAIT: Final = 900.0
"""Seconds between two tries; with ``_WAITS`` something is waited for about a day."""

_KEPT: Final = 90 * 86_400.0
_PAUSE: Final = 3_600.0
"""Seconds between two looks for what is kept no more."""

_PASSING: Final = (Unavailable, CoordinationUnavailable, LeaseHeld)
"""What waiting helps against."""


class Kind(StrEnum):
    """What is to be done."""

    CREATE = "create"
    RESTORE = "restore"
    DELETE = "delete"


class State(StrEnum):
    """How far it is."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


class JobRecord(Record, frozen=True, kw_only=True):
    """One piece of work. Times are in Unix seconds.

    ``backup`` is the one to restore or to remove, and the one that was made. ``projects`` are
    names, none for all. ``done`` counts what was done. ``error`` says why it failed, or what it
    left out.

    ``owned`` leads from the names of projects to their ids: those that the caller could administer
    when it asked; ``None`` for who governs the registry, and so may all. ``tries`` are those that
    broke off, ``waits`` those that met a failure that may pass; ``due`` is when to try again.
    """

    kind: Kind
    by: str
    asked: float
    backup: str = ""
    projects: tuple[str, ...] = ()
    into: str = ""
    owned: Mapping[str, str] | None = {}
    state: State = State.WAITING
    began: float = 0.0
    ended: float = 0.0
    tries: int = 0
    waits: int = 0
    due: float = 0.0
    done: Mapping[str, int] = {}
    error: str = ""

    @property
    def open(self) -> bool:
        """Whether there is something to do still."""
        return self.state in (State.WAITING, State.RUNNING)

    @property
    def again(self) -> bool:
        """Whether an earlier try may have done some of it."""
        return self.tries > 1 or self.waits > 0

    def same(self, other: "JobRecord") -> bool:
        """Whether both ask for the same."""
        wanted = (other.kind, other.backup, other.projects, other.into, other.owned)
        return (self.kind, self.backup, self.projects, self.into, self.owned) == wanted


@dataclass(frozen=True, slots=True)
class Job:
    """A piece of work, by its id."""

    id: str
    record: JobRecord


class Undoable(Exception):
    """It can't be done, however often it is tried; the message says why."""


@dataclass(frozen=True, slots=True)
class BackupDesk:
    """What is asked of backups while the registry serves. ``all`` tells those there are."""

    jobs: "Jobs"
    all: Callable[[], Awaitable[Sequence[Backup]]]


Work = Callable[[JobRecord], Awaitable[JobRecord]]
"""Does the work; returns the record with what was done. ``Undoable``."""


class Jobs:
    """The work on backups of one registry: any process takes it on, one does it."""

    def __init__(self, store: ObjectStore, coordinator: Coordinator, terms: Terms) -> None:
        self._store = store
        self._coordinator = coordinator
        self._terms = terms
        self._forgot = float("-inf")

    async def add(self, wanted: JobRecord) -> Job:
        """Have something done. What waits already, or is being done, is not asked for twice.

        So who did not get the answer asks again. ``TooMany`` where much else waits.
        """
        waiting = [job async for job in self._due()]
        for job in waiting:
            if job.record.same(wanted):
                return job
        if len(waiting) >= MOST_WAITING:
            raise TooMany("pieces of work on backups that wait", MOST_WAITING)
        number = f"{int(wanted.asked * 1000):013}.{secrets.token_hex(8)}"
        await self._store.create(keys.backup_due(number), wanted.encode())
        return Job(number, wanted)

    async def get(self, number: str) -> Job:
        """Tell how far something is. ``BackupJobUnknown``."""
        # What ends is written below the one prefix before it goes from the other.
        for key in (keys.backup_due(number), keys.backup_job(number)):
            found = await value(self._store, key)
            if found is not None:
                return Job(number, JobRecord.decode(found.data))
        raise BackupJobUnknown(number)

    async def last(self, limit: int) -> Sequence[Job]:
        """The last that were asked for, the newest first."""
        numbers = {
            keys.last_segment(key)
            for prefix in (keys.BACKUP_DUE, keys.BACKUP_JOBS)
            async for key in every_key(self._store, prefix)
        }
        found = []
        for number in sorted(numbers, reverse=True)[:limit]:
            # One that is kept no more by now, or that can't be read, hides no other.
            with contextlib.suppress(BackupJobUnknown, Corrupt):
                found.append(await self.get(number))
        return found

    async def run(self, work: Work) -> Sequence[JobRecord]:
        """Do what waits, the oldest first; return what has ended. ``LeaseHeld``: another does.

        What a process had begun that ended meanwhile is begun again, up to three times. What
        fails for a reason that may pass waits, longer each time and for about a day, and what is
        behind it is done. Once an hour, what was asked for 90 days ago is forgotten.
        """
        ended = []
        async with self._coordinator.hold(LEASE):
            async for job in self._due():
                if await exists(self._store, keys.backup_job(job.id)):
                    await self._store.delete(keys.backup_due(job.id))
                elif job.record.due <= self._terms.clock():
                    record = await self._do(job, work)
                    ended += [] if record.open else [record]
            if self._terms.clock() - self._forgot > _PAUSE:
                await self._forget()
        return ended

    async def _do(self, job: Job, work: Work) -> JobRecord:
        """Do one piece of work, and write down what became of it."""
        record = msgspec.structs.replace(
            job.record,
            state=State.RUNNING,
            began=job.record.began or self._terms.clock(),
            tries=job.record.tries + 1,
            error="",
        )
        await self._write(job.id, record)
        if record.tries > _TRIES:
            return await self._end(job.id, record, State.FAILED, "it broke off three times")
        try:
            done = await work(record)
        except Undoable as error:
            return await self._end(job.id, record, State.FAILED, str(error))
        except _PASSING as error:
            return await self._wait(job, record, str(error))
        return await self._end(job.id, done, State.DONE, done.error)

    async def _wait(self, job: Job, record: JobRecord, error: str) -> JobRecord:
        """Have something tried again later, unless it was too often."""
        waits = record.waits + 1
        if waits >= _WAITS:
            return await self._end(job.id, record, State.FAILED, f"given up: {error}")
        _log.warning("work on backups (%s) waits, and will be done again: %s", job.id, error)
        waiting = msgspec.structs.replace(
            record,
            state=State.WAITING,
            tries=job.record.tries,
            waits=waits,
            due=self._terms.clock() + min(2.0 ** min(waits, 16), _LONGEST_WAIT),
            error=error[:500],
        )
        await self._write(job.id, waiting)
        return waiting

    async def _end(self, number: str, record: JobRecord, state: State, error: str) -> JobRecord:
        record = msgspec.structs.replace(
            record, state=state, ended=self._terms.clock(), error=error[:500]
        )
        await self._store.put(keys.backup_job(number), record.encode())
        await self._store.delete(keys.backup_due(number))
        return record

    async def _write(self, number: str, record: JobRecord) -> None:
        """Only who has the lease writes, so there is nobody to compare with."""
        await self._store.put(keys.backup_due(number), record.encode())

    async def _due(self) -> AsyncIterator[Job]:
        """All that is to be done, the oldest first; without what can't be read."""
        async for key in every_key(self._store, keys.BACKUP_DUE):
            found = await value(self._store, key)
            if found is None:
                continue
            try:
                record = JobRecord.decode(found.data)
            except Corrupt as error:
                _log.warning("work on backups that can't be read, %s: %s", key, error)
                continue
            yield Job(keys.last_segment(key), record)

    async def _forget(self) -> None:
        """Remove what was asked for long ago. Its key tells when that was."""
        oldest = f"{int((self._terms.clock() - _KEPT) * 1000):013}"
        async for key in every_key(self._store, keys.BACKUP_JOBS):
            if keys.last_segment(key) >= oldest:
                break
            await self._store.delete(key)
        self._forgot = self._terms.clock()
