"""Work on backups that was asked for: written down, and done by one process at a time."""

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import msgspec

from registry.service.backup.backups import Backup
from registry.service.entries import value
from registry.service.failures import FAILURES
from registry.service.listing import every_key
from registry.service.records import Record
from registry.service.terms import Terms
from registry.spec.problems import BackupJobUnknown, TooMany
from storage import keys
from storage.coordination import Coordinator
from storage.ports import ObjectStore

LEASE: Final = "backup-jobs"
MOST_WAITING: Final = 20
_TRIES: Final = 3
_KEPT: Final = 90 * 86_400.0


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
    """

    kind: Kind
    by: str
    asked: float
    backup: str = ""
    projects: tuple[str, ...] = ()
    into: str = ""
    state: State = State.WAITING
    began: float = 0.0
    ended: float = 0.0
    tries: int = 0
    done: Mapping[str, int] = {}
    error: str = ""

    @property
    def open(self) -> bool:
        """Whether there is something to do still."""
        return self.state in (State.WAITING, State.RUNNING)

    def same(self, other: "JobRecord") -> bool:
        """Whether both ask for the same."""
        wanted = (other.kind, other.backup, other.projects, other.into)
        return (self.kind, self.backup, self.projects, self.into) == wanted


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

    async def add(self, wanted: JobRecord) -> Job:
        """Have something done. What waits already, or is being done, is not asked for twice.

        So who did not get the answer asks again. ``TooMany`` where much else waits.
        """
        waiting = [job async for job in self._all() if job.record.open]
        for job in waiting:
            if job.record.same(wanted):
                return job
        if len(waiting) >= MOST_WAITING:
            raise TooMany("pieces of work on backups that wait", MOST_WAITING)
        number = f"{int(wanted.asked * 1000):013}.{secrets.token_hex(8)}"
        await self._store.create(keys.backup_job(number), wanted.encode())
        return Job(number, wanted)

    async def get(self, number: str) -> Job:
        """Tell how far something is. ``BackupJobUnknown``."""
        found = await value(self._store, keys.backup_job(number))
        if found is None:
            raise BackupJobUnknown(number)
        return Job(number, JobRecord.decode(found.data))

    async def last(self, limit: int) -> Sequence[Job]:
        """The last that were asked for, the newest first."""
        return [job async for job in self._all()][: -limit - 1 : -1]

    async def run(self, work: Work) -> Sequence[JobRecord]:
        """Do what waits, the oldest first; return what has ended. ``LeaseHeld``: another does.

        What a process had begun that ended meanwhile is begun again, up to three times. What
        fails for a reason that may pass (``FAILURES``) waits for the next call.
        """
        ended = []
        async with self._coordinator.hold(LEASE):
            async for job in self._all():
                if job.record.open:
                    ended.append(await self._do(job, work))
                elif self._terms.clock() - job.record.ended > _KEPT:
                    await self._store.delete(keys.backup_job(job.id))
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
        except FAILURES as error:
            waits = msgspec.structs.replace(
                record, state=State.WAITING, tries=job.record.tries, error=str(error)[:500]
            )
            await self._write(job.id, waits)
            raise
        return await self._end(job.id, done, State.DONE, done.error)

    async def _end(self, number: str, record: JobRecord, state: State, error: str) -> JobRecord:
        record = msgspec.structs.replace(
            record, state=state, ended=self._terms.clock(), error=error[:500]
        )
        await self._write(number, record)
        return record

    async def _write(self, number: str, record: JobRecord) -> None:
        """Only who has the lease writes, so there is nobody to compare with."""
        await self._store.put(keys.backup_job(number), record.encode())

    async def _all(self) -> AsyncIterator[Job]:
        """All that was asked for, the oldest first."""
        async for key in every_key(self._store, keys.BACKUP_JOBS):
            found = await value(self._store, key)
            if found is not None:
                number = key[len(keys.BACKUP_JOBS) :]
                yield Job(number, JobRecord.decode(found.data))
