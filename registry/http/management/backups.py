"""Backups of a platform's projects: made, restored and removed in the background."""

import time
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from msgspec import Meta

from auth.policy import Action, Allow, Verb
from registry.http.management.inputs import Nothing
from registry.http.management.route import Call, Reply, Route
from registry.http.management.views import Principal, Terms, Time, View, maybe, moment
from registry.service.backup.backups import Backup
from registry.service.backup.jobs import BackupDesk, Job, JobRecord, Kind, State
from registry.service.projects.names import root_name
from registry.spec.problems import (
    BackupJobUnknown,
    BackupsOff,
    Invalid,
    NotAllowed,
    ProjectNameInvalid,
    TooMany,
)

MOST: int = 100
"""Jobs that are listed, and projects that one is about."""

BackupId = Annotated[
    str,
    Meta(
        pattern=r"^[0-9]{8}T[0-9]{6}Z-[0-9a-f]{6}\Z",
        description="Id of a backup.",
        examples=["20261126T031500Z-5a2f10"],
    ),
]
ProjectName = Annotated[str, Meta(min_length=1, max_length=100)]


class OfBackup(Nothing, frozen=True, kw_only=True):
    """What is asked of a backup."""

    backup: BackupId


class OfJob(Nothing, frozen=True, kw_only=True):
    """What is asked of work on backups."""

    job: Annotated[str, Meta(pattern=r"^[0-9]{13}\.[0-9a-f]{16}\Z", description="Its id.")]


class BackupTerms(Terms, frozen=True, kw_only=True):
    """What is to be backed up."""

    projects: Annotated[
        tuple[ProjectName, ...],
        Meta(max_length=MOST, description="Names of projects here; none: all, and accounts."),
    ] = ()


class RestoreTerms(Terms, frozen=True, kw_only=True):
    """What is to be restored of a backup."""

    projects: Annotated[
        tuple[ProjectName, ...],
        Meta(
            max_length=MOST,
            description="Names that they have in the backup. None: all, and accounts, which only "
            "administrators of the registry may ask for.",
        ),
    ] = ()
    into: Annotated[
        str, Meta(max_length=100, description="Name that the one project is to have.")
    ] = ""


class BackupView(View, frozen=True, kw_only=True):
    """A backup that is whole."""

    id: str
    began: Time
    read: Annotated[Time, Meta(description="When all tags had been read.")]
    projects: Annotated[tuple[str, ...], Meta(description="Those that were asked for; none: all.")]
    repositories: int
    manifests: int
    tags: int
    new_bytes: Annotated[int, Meta(description="Bytes that no earlier backup had.")]
    missing: Annotated[int, Meta(description="What could not be copied.")]


class BackupList(View, frozen=True, kw_only=True):
    """The backups that there are, the oldest first."""

    items: tuple[BackupView, ...]


class BackupJobView(View, frozen=True, kw_only=True):
    """Work on backups."""

    id: str
    kind: Kind
    state: State
    by: Principal
    asked: Time
    began: Time | None
    ended: Time | None
    backup: Annotated[str | None, Meta(description="The backup: of `create`, when it is done.")]
    projects: tuple[str, ...]
    into: str | None
    done: Annotated[Mapping[str, int], Meta(description="What was done, counted.")]
    error: Annotated[
        str | None,
        Meta(description="Why it failed, why it waits, or what a restore had to leave out."),
    ]


class BackupJobList(View, frozen=True, kw_only=True):
    """The last work on backups, the newest first."""

    items: tuple[BackupJobView, ...]


async def list_backups(call: Call[Nothing, None]) -> Reply:
    """List the backups there are."""
    return Reply(BackupList(items=tuple(map(_backup_view, await _desk(call).all()))))


async def create_backup(call: Call[Nothing, BackupTerms]) -> Reply:
    """Have a backup made."""
    return await _add(call, Kind.CREATE, projects=_names(call, call.body.projects))


async def restore_backup(call: Call[OfBackup, RestoreTerms]) -> Reply:
    """Have projects restored, which the caller owns or which are not there."""
    projects, into = _names(call, call.body.projects), "".join(_names(call, (call.body.into,)))
    if into and len(projects) != 1:
        raise Invalid("`into` is for one project")
    return await _add(
        call,
        Kind.RESTORE,
        backup=call.input.backup,
        projects=projects,
        into="" if projects == (into,) else into,
        owned=None if await call.may(Verb.GOVERN) else await _owned(call, projects, into),
    )


async def delete_backup(call: Call[OfBackup, None]) -> Reply:
    """Have a backup removed, and what no other needs."""
    return await _add(call, Kind.DELETE, backup=call.input.backup)


async def list_jobs(call: Call[Nothing, None]) -> Reply:
    """List the last work on backups."""
    found = await _desk(call).jobs.last(MOST)
    return Reply(BackupJobList(items=tuple(map(_job_view, found))))


async def get_job(call: Call[OfJob, None]) -> Reply:
    """Tell how far work on backups is."""
    return Reply(_job_view(await _desk(call).jobs.get(call.input.job)))


async def _add(call: Call[Any, Any], kind: Kind, **wanted: Any) -> Reply:
    """Write down what is wanted; a process does it within seconds."""
    record = JobRecord(kind=kind, by=call.identity.name, asked=time.time(), **wanted)
    return Reply(_job_view(await _desk(call).jobs.add(record)), 202)


async def _owned(call: Call[Any, Any], projects: Sequence[str], into: str) -> Mapping[str, str]:
    """Return the ids of those that a restore is about, which the caller may administer.

    ``NotAllowed`` for one that is another's, for all, and for one to copy that is not there. Whose
    a backup's content is, the work itself sees.
    """
    if not projects:
        raise NotAllowed("only administrators of the registry restore all: name projects")
    found = {}
    for name in {*projects, *([into] if into else [])}:
        there = await call.tenancy.projects.named(name)
        if there is None:
            if into not in ("", name):
                raise NotAllowed(f"the project {name} is not there, so it is not yours")
            continue
        action = Action(Verb.ADMINISTER, project=name, address=call.address)
        decision = await call.managed.policy.decide(call.identity, action)
        if not isinstance(decision, Allow) or decision.tenant is None:
            raise NotAllowed(f"the project {name} is not yours: ask one of its owners")
        found[name] = decision.tenant.id
    return found


def _names(call: Call[Any, Any], texts: Sequence[str]) -> tuple[str, ...]:
    """Read the names of projects, each once, without the empty. ``ProjectNameInvalid``."""
    projects = call.managed.projects is not None
    names = [root_name(text, projects=projects) for text in texts if text]
    return tuple(dict.fromkeys(names))


def _desk(call: Call[Any, Any]) -> BackupDesk:
    if call.managed.backups is None:
        raise BackupsOff
    return call.managed.backups


def _backup_view(backup: Backup) -> BackupView:
    summary = backup.summary
    return BackupView(
        id=backup.id,
        began=moment(summary.began),
        read=moment(summary.read),
        projects=summary.projects,
        repositories=summary.repositories,
        manifests=summary.manifests,
        tags=summary.tags,
        new_bytes=summary.bytes,
        missing=summary.missing,
    )


def _job_view(job: Job) -> BackupJobView:
    record = job.record
    return BackupJobView(
        id=job.id,
        kind=record.kind,
        state=record.state,
        by=record.by,
        asked=moment(record.asked),
        began=maybe(record.began or None),
        ended=maybe(record.ended or None),
        backup=record.backup or None,
        projects=record.projects,
        into=record.into or None,
        done=record.done,
        error=record.error or None,
    )


ROUTES = (
    Route.of(
        "GET /platform/backups",
        "backup.list",
        Verb.PROVISION,
        "List the backups there are",
        list_backups,
        Nothing,
        BackupList,
        refusals=(BackupsOff,),
    ),
    Route.of(
        "POST /platform/backups",
        "backup.create",
        Verb.PROVISION,
        "Have projects backed up",
        create_backup,
        Nothing,
        BackupJobView,
        statuses=(202,),
        body=BackupTerms,
        refusals=(BackupsOff, ProjectNameInvalid, TooMany),
    ),
    Route.of(
        "POST /platform/backups/{backup}/restore",
        "backup.restore",
        Verb.PROVISION,
        "Have projects restored from a backup",
        restore_backup,
        OfBackup,
        BackupJobView,
        statuses=(202,),
        body=RestoreTerms,
        refusals=(BackupsOff, Invalid, NotAllowed, ProjectNameInvalid, TooMany),
    ),
    Route.of(
        "DELETE /platform/backups/{backup}",
        "backup.delete",
        Verb.PROVISION,
        "Have a backup removed",
        delete_backup,
        OfBackup,
        BackupJobView,
        statuses=(202,),
        refusals=(BackupsOff, TooMany),
    ),
    Route.of(
        "GET /platform/backup-jobs",
        "backup-job.list",
        Verb.PROVISION,
        "List the last work on backups",
        list_jobs,
        Nothing,
        BackupJobList,
        refusals=(BackupsOff,),
    ),
    Route.of(
        "GET /platform/backup-jobs/{job}",
        "backup-job.get",
        Verb.PROVISION,
        "Tell how far work on backups is",
        get_job,
        OfJob,
        BackupJobView,
        refusals=(BackupsOff, BackupJobUnknown),
    ),
)
