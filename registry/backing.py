"""The composition root's part for work on backups that was asked for over the management API."""

import contextlib
import logging
import time
from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Any

import msgspec

from registry.backend import Backend
from registry.background import beside, repeated
from registry.backups import backing_up, backups_of, restoring
from registry.config import Config, ConfigError
from registry.http.backups import BackupMetrics
from registry.service.audit.events import AuditEvent, Happening, Origin
from registry.service.audit.journal import Journal
from registry.service.backup.backups import Backup, BackupUnknown, ProjectsUnknown, Swept
from registry.service.backup.jobs import BackupDesk, JobRecord, Jobs, Kind, Undoable
from registry.service.backup.restore import Elsewhere
from registry.service.records import Corrupt
from registry.service.terms import Terms
from registry.spec.problems import ProjectNameInvalid
from storage.ports import StorageError, Unavailable

_log = logging.getLogger("moorage.backup")

_PAUSE = 2.0
"""Seconds between two looks for what was asked for. It costs one request that lists."""


def desk_of(config: Config, backend: Backend, terms: Terms) -> BackupDesk | None:
    """Return what the API asks; ``None`` where no ``backup.target`` is set."""
    if not config.backup.target:
        return None

    async def all_of_them() -> Sequence[Backup]:
        """The oldest first; none, where none was made yet."""
        try:
            async with backups_of(config) as backups:
                return await backups.all()
        except ConfigError:
            return ()

    return BackupDesk(Jobs(backend.store, backend.coordinator, terms), all_of_them)


@contextlib.asynccontextmanager
async def backing(
    config: Config,
    backend: Backend,
    terms: Terms,
    metrics: BackupMetrics,
    journal: Journal | None,
    *,
    first: bool,
) -> AsyncIterator[None]:
    """Do in the ``first`` worker what was asked for, while this is entered."""
    if not first or not config.backup.target:
        yield
        return
    jobs = Jobs(backend.store, backend.coordinator, terms)
    work = partial(_work, config, backend, journal)

    async def run() -> None:
        for record in await jobs.run(work):
            metrics.ended(record)

    failed = "work on backups was broken off"
    async with beside(repeated("backup.jobs", run, _PAUSE, _log, failed)):
        yield


async def _work(
    config: Config, backend: Backend, journal: Journal | None, wanted: JobRecord
) -> JobRecord:
    """Do one piece of work."""
    do = {Kind.CREATE: _create, Kind.RESTORE: _restore, Kind.DELETE: _delete}[wanted.kind]
    try:
        return await do(config, backend, journal, wanted)
    except BackupUnknown as error:
        raise Undoable(f"there is no backup {wanted.backup}") from error
    except ProjectsUnknown as error:
        raise Undoable(f"there is no project {error}") from error
    except Unavailable:
        raise
    except (Elsewhere, ConfigError, Corrupt, StorageError, ProjectNameInvalid) as error:
        raise Undoable(str(error)) from error


async def _create(
    config: Config, backend: Backend, journal: Journal | None, wanted: JobRecord
) -> JobRecord:
    async with backups_of(config, make=True) as backups:
        made = await backing_up(config, backend, backups, wanted.projects, _quiet, _missing)
    summary = made.summary
    done = {
        name: getattr(summary, name)
        for name in ("repositories", "manifests", "tags", "blobs", "bytes", "missing")
    }
    _record(journal, config, Happening.BACKUP_CREATED, wanted, made.id)
    return msgspec.structs.replace(wanted, backup=made.id, done=done)


async def _restore(
    config: Config, backend: Backend, journal: Journal | None, wanted: JobRecord
) -> JobRecord:
    if not wanted.projects and wanted.owned is not None:
        raise Elsewhere("only administrators of the registry restore all: name projects")
    reasons: list[str] = []

    def failed(what: str, reason: str) -> None:
        _log.warning("not restored %s: %s", what, reason)
        reasons.append(f"{what}: {reason}")

    async with backups_of(config) as backups:
        backup = await backups.find(wanted.backup)
        restore = await restoring(config, backend, backups, _quiet, failed)
        done = await restore.restore(backup, wanted.projects, into=wanted.into, owned=wanted.owned)
    _record(
        journal,
        config,
        Happening.BACKUP_RESTORED,
        wanted,
        backup.id,
        into=wanted.into or None,
        failed=done.failed or None,
    )
    counts = {
        name: getattr(done, name)
        for name in ("projects", "repositories", "manifests", "tags", "blobs", "bytes", "failed")
    }
    return msgspec.structs.replace(wanted, backup=backup.id, done=counts, error="; ".join(reasons))


async def _delete(
    config: Config, backend: Backend, journal: Journal | None, wanted: JobRecord
) -> JobRecord:
    del backend
    error = ""
    async with backups_of(config) as backups:
        try:
            swept = await backups.remove(wanted.backup)
        except BackupUnknown:
            if not wanted.again:
                raise
            # An earlier try broke off behind its first step.
            swept = await backups.sweep()
        except Corrupt as failure:
            # Nothing is swept where another backup can't be read; this one is gone nonetheless.
            if wanted.backup in [backup.id for backup in await backups.all()]:
                raise
            swept, error = Swept(0), str(failure)
    _record(journal, config, Happening.BACKUP_REMOVED, wanted, wanted.backup)
    return msgspec.structs.replace(wanted, done={"blobs": swept.blobs}, error=error)


def _record(
    journal: Journal | None,
    config: Config,
    action: Happening,
    wanted: JobRecord,
    backup: str,
    **more: Any,
) -> None:
    if journal is not None:
        journal.record(
            AuditEvent.of(
                time.time(),
                action,
                Origin(wanted.by),
                subject=backup,
                projects=", ".join(wanted.projects) or None,
                target=config.backup.target,
                **more,
            )
        )


def _quiet(_: object) -> None:
    """Nobody looks on."""


def _missing(digest: str, reason: str) -> None:
    _log.warning("not in the backup: %s: %s", digest, reason)
