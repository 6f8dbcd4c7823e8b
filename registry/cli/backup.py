"""``moorage backup``: copies of projects and all they hold, and their way back."""

# ruff: noqa: T201  printing is what a command does

import argparse
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from registry.cli.commands import Commands
from registry.cli.errors import Failed, UsageError
from registry.cli.jobs import Telling, add_store, opened, run, say, store_of
from registry.config import Config

if TYPE_CHECKING:
    from registry.service.audit.journal import Journal
    from registry.service.backup.backups import Backup, Progress
    from registry.service.backup.contents import Restored

_GROUP: Final = """\
A backup is a copy of projects, with all they hold, in a store of its own: a directory or a bucket.
It is made while clients push. What an earlier backup has is not copied again."""

_CREATE: Final = """\
Make a backup of all projects, or of some. Every tag is in it as it was at one moment after it was
begun; what is deleted meanwhile is copied all the same. One that is broken off leaves no backup,
and the next one does not copy again what it has copied."""

_RESTORE: Final = """\
Restore a backup, the last one if none is named. A project that is not there is made as it was. One
that is there keeps its members and rules; its tags point where they did, and what came since stays.
A restore may be repeated, and goes on where it was broken off. The registry may serve meanwhile."""

_EPILOG: Final = """\
examples:
  moorage backup create -c moorage.toml --target /backups
  moorage backup create -c moorage.toml --target bucket.toml --project demo
  moorage backup list -c moorage.toml --target /backups
  moorage backup restore -c empty.toml --target /backups
  moorage backup restore -c moorage.toml --target /backups --at 2026-11-26T12:00:00Z \\
      --project demo --into demo-of-yesterday
  moorage backup delete -c moorage.toml --target /backups 20261126T031500Z-5a2f10

--target is a directory, or a configuration file whose [storage] names a bucket. Setting
backup.target spares it."""

_BUSY: Final = "another command is at work on these backups; try again later"


def add(commands: Commands) -> None:
    """Add the commands."""
    group = commands.group("backup", "back up and restore", description=_GROUP, epilog=_EPILOG)
    create = _command(group, "create", "make a backup", _create, _CREATE)
    _add_projects(create, "back up this project only; may be given several times")
    _add_rate(create)
    listed = _command(group, "list", "list backups, the oldest first", _list)
    listed.add_argument("--json", action="store_true", help="print a line of JSON for each")
    restore = _command(group, "restore", "restore a backup", _restore, _RESTORE)
    restore.add_argument("backup", nargs="?", default="", help="its id; the last one by default")
    restore.add_argument("--at", metavar="TIME", help="the last one by this time (UTC)")
    _add_projects(restore, "restore this project only; may be given several times")
    restore.add_argument("--into", metavar="NAME", default="", help="the project's name is to be")
    _add_rate(restore)
    delete = _command(
        group, "delete", "remove a backup, and what no other needs; without one, only that", _delete
    )
    delete.add_argument("backup", nargs="?", default="", help="its id")
    verify = _command(group, "verify", "compare backups with their digests", _verify)
    verify.add_argument("backup", nargs="?", default="", help="its id; all of them by default")
    _add_rate(verify)


def _command(
    group: Commands, name: str, text: str, work: Callable[..., Any], description: str = ""
) -> argparse.ArgumentParser:
    def do(options: argparse.Namespace) -> int:
        config = store_of(options)
        return run(lambda: _known(work(config, options)), busy=_BUSY)

    more = {"description": description} if description else {}
    parser = group.command(name, text, do, epilog=_EPILOG, **more)
    add_store(parser)
    parser.add_argument(
        "--target", dest="backup.target", metavar="PATH", help="where the backups are"
    )
    return parser


def _add_projects(parser: argparse.ArgumentParser, text: str) -> None:
    parser.add_argument(
        "--project", dest="projects", action="append", default=[], metavar="NAME", help=text
    )


def _add_rate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--rate",
        dest="backup.bytes_per_second",
        type=int,
        metavar="BYTES",
        help="bytes in a second at the most (default: any number)",
    )


async def _known(work: Any) -> int:
    """Do the work; say what is not there, if that is what it fails of."""
    from registry.service.backup.backups import BackupUnknown, ProjectsUnknown  # noqa: PLC0415
    from registry.spec.problems import ProjectNameInvalid  # noqa: PLC0415

    try:
        done: int = await work
    except BackupUnknown as error:
        wanted = str(error)
        raise Failed(f"there is no backup {wanted}" if wanted else "there is no backup") from error
    except ProjectsUnknown as error:
        raise Failed(f"there is no project {error}") from error
    except ProjectNameInvalid as error:
        raise UsageError(str(error)) from error
    return done


async def _create(config: Config, options: argparse.Namespace) -> int:
    # Not at the top: the other commands need none of it.
    from registry.backups import backing_up, backups_of  # noqa: PLC0415
    from registry.telling import audited_command  # noqa: PLC0415

    progress = Telling(_of_create)
    async with (
        opened(config, "backup.create") as backend,
        audited_command(config, backend) as journal,
        backups_of(config, make=True) as backups,
    ):
        made = await backing_up(
            config,
            backend,
            backups,
            options.projects,
            progress.tell,
            lambda digest, reason: say(f"missing {digest}: {reason}"),
        )
        _record(journal, config, "backup.created", made.id, projects=_names(options))
    print(made.id)
    summary = made.summary
    say(
        f"{summary.repositories} repositories, {summary.manifests} manifests, {summary.tags} tags; "
        f"{summary.blobs} blobs of {summary.bytes} bytes were new"
    )
    if summary.missing:
        raise Failed(f"the backup is made, but {summary.missing} things could not be copied")
    return 0


async def _list(config: Config, options: argparse.Namespace) -> int:
    from registry.backups import backups_of  # noqa: PLC0415

    async with backups_of(config) as backups:
        for backup in await backups.all():
            print(json.dumps(_document(backup)) if options.json else _line(backup))
    return 0


async def _restore(config: Config, options: argparse.Namespace) -> int:
    from registry.backups import backups_of, restoring  # noqa: PLC0415
    from registry.telling import audited_command  # noqa: PLC0415

    if options.into and len(options.projects) != 1:
        raise UsageError("--into is for one --project")
    at = _time(options.at) if options.at else None
    progress = Telling(_of_restore)
    async with (
        opened(config, "backup.restore") as backend,
        audited_command(config, backend) as journal,
        backups_of(config) as backups,
    ):
        backup = await backups.find(options.backup, at=at)
        work = await restoring(
            config,
            backend,
            backups,
            progress.tell,
            lambda what, reason: say(f"not restored {what}: {reason}"),
        )
        done = await work.restore(backup, options.projects, into=options.into)
        more = {"projects": _names(options), "into": options.into or None}
        _record(journal, config, "backup.restored", backup.id, failed=done.failed or None, **more)
    say(f"restored {backup.id}: {_of_restore(done)}")
    if done.failed:
        raise Failed(f"{done.failed} things could not be restored")
    return 0


async def _delete(config: Config, options: argparse.Namespace) -> int:
    from registry.backups import backups_of  # noqa: PLC0415
    from registry.telling import audited_command  # noqa: PLC0415

    async with (
        opened(config, "backup.remove") as backend,
        audited_command(config, backend) as journal,
        backups_of(config) as backups,
    ):
        if options.backup:
            swept = await backups.remove(options.backup)
            _record(journal, config, "backup.removed", options.backup)
        else:
            swept = await backups.sweep()
    say(f"{swept.blobs} blobs that no backup needs were removed")
    return 0


async def _verify(config: Config, options: argparse.Namespace) -> int:
    from registry.backups import backups_of  # noqa: PLC0415

    wrong = 0

    def told(digest: str, reason: str) -> None:
        nonlocal wrong
        wrong += 1
        print(f"damaged {digest}: {reason}")

    async with backups_of(config) as backups:
        chosen = [await backups.find(options.backup)] if options.backup else await backups.all()
        looked = await backups.verify(chosen, told, per_second=config.backup.bytes_per_second)
    say(f"{looked} blobs of {len(chosen)} backups were read, {wrong} of them damaged")
    return 1 if wrong else 0


def _record(
    journal: "Journal | None", config: Config, action: str, backup: str, **details: Any
) -> None:
    """Tell the audit log of the registry, if it has one."""
    from registry.service.audit.events import COMMAND, AuditEvent  # noqa: PLC0415

    if journal is not None:
        target = config.backup.target
        journal.record(
            AuditEvent.of(time.time(), action, COMMAND, subject=backup, target=target, **details)
        )


def _names(options: argparse.Namespace) -> str | None:
    return ", ".join(options.projects) or None


def _of_create(progress: "Progress") -> str:
    if progress.step == "reading":
        return f"reading: {progress.repositories} repositories, {progress.tags} tags"
    return f"copying: {progress.blobs} of {progress.waiting} blobs, {progress.bytes} bytes"


def _of_restore(done: "Restored") -> str:
    return (
        f"{done.projects} projects, {done.repositories} repositories, {done.manifests} manifests, "
        f"{done.tags} tags; {done.blobs} blobs of {done.bytes} bytes were copied"
    )


def _document(backup: "Backup") -> dict[str, object]:
    import msgspec  # noqa: PLC0415

    return {"id": backup.id, **msgspec.structs.asdict(backup.summary)}


def _line(backup: "Backup") -> str:
    summary = backup.summary
    read = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(summary.read))
    whose = " ".join(summary.projects) or "all projects"
    lacks = f", {summary.missing} blobs missing" if summary.missing else ""
    return (
        f"{backup.id}  {read}  {whose}: {summary.repositories} repositories, {summary.tags} tags, "
        f"{summary.bytes} bytes new{lacks}"
    )


def _time(text: str) -> float:
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"{text!a} is no time: write 2026-11-26T12:00:00Z") from error
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
