"""``moorage gc``: collect what nothing needs, as a job beside the registry or instead of it."""

# ruff: noqa: T201  printing is what a command does

import argparse
import json
import sys
from typing import TYPE_CHECKING, Final

from registry.cli.commands import Commands
from registry.cli.errors import Failed
from registry.cli.jobs import add_store, opened, run, store_of
from registry.config import Config

if TYPE_CHECKING:
    from registry.service.collection.findings import Finding

_GC: Final = """\
Look at all that is due, condemn what nothing needs, and remove what was condemned for
collection.grace_seconds. Clients may push and pull meanwhile, and a registry may collect too: the
work is done once. It can be broken off at any moment. Each line that is printed tells what was
done, to what, and why."""

_EPILOG: Final = """\
examples:
  moorage gc -c moorage.toml              see to what is due, and end
  moorage gc -c moorage.toml --dry-run    only tell what nothing needs; nothing is changed
  moorage gc -c moorage.toml --full       first go over all that is stored

A store that was written by a version without a collector has to be gone over with --full once, when
all replicas have been replaced; a registry does so by itself after collection.grace_seconds."""


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.command(
        "gc", "remove what nothing needs", _gc, description=_GC, epilog=_EPILOG
    )
    add_store(parser)
    parser.add_argument("--dry-run", action="store_true", help="change nothing, only tell")
    parser.add_argument(
        "--full", action="store_true", help="go over all that is stored: takes long"
    )
    parser.add_argument("--json", action="store_true", help="print a line of JSON for each finding")


def _gc(options: argparse.Namespace) -> int:
    config = store_of(options)
    from registry.service.collection.collector import NotLinked  # noqa: PLC0415  as below

    try:
        return run(
            lambda: _run(config, options),
            busy="another collector is at work on this store; try again later",
        )
    except NotLinked as error:
        raise Failed(
            "it is not known yet what the manifests of this store need, since a version without a "
            "collector wrote it: replace all replicas, then run moorage gc --full"
        ) from error


async def _run(config: Config, options: argparse.Namespace) -> int:
    # Not at the top: the other commands need none of it.
    from registry.collecting import (  # noqa: PLC0415
        collector,
        history_of,
        marker,
        reporting,
        terms_of,
    )
    from registry.service.services import Services  # noqa: PLC0415
    from registry.telling import audited_command  # noqa: PLC0415

    freed, found = 0, 0

    def report(finding: "Finding") -> None:
        nonlocal freed, found
        freed += finding.size
        found += 1
        print(_line(finding, as_json=options.json, look=options.dry_run))

    async with (
        opened(
            config,
            "collection",
            alone="nothing but the one process that serves it may collect, so leave "
            "collection.enabled on there",
        ) as backend,
        audited_command(config, backend) as journal,
    ):
        services = Services.over(
            backend.store,
            backend.coordinator,
            files=backend.files,
            memory=0,
            exact=backend.exact,
            terms=terms_of(config),
            projects=True,
            history=history_of(config),
        )
        told = report if options.dry_run else reporting(journal, report)
        marks = marker(backend, services, told)
        if options.full:
            marked = await marks.mark(look=options.dry_run)
            print(
                f"went over {marked.repositories} repositories, {marked.manifests} manifests, "
                f"{marked.members} members and {marked.pointers} blobs; "
                f"{marked.candidates} are to be looked at, {marked.linked} needs were written down",
                file=sys.stderr,
            )
        elif not options.dry_run:
            await marks.begin()
        done = await collector(config, backend, services, told).collect(
            look=options.dry_run, wait=60.0
        )
        await services.quotas.settle(close=True)
        if not options.dry_run:
            await services.tags.histories.sweep()
    print(
        f"{done.seen} candidates seen to, {done.looks} looks, {found} findings, "
        f"{freed} bytes {'would be ' if options.dry_run else ''}freed",
        file=sys.stderr,
    )
    if done.failed:
        raise Failed(f"{done.failed} candidates could not be seen to; they stay in the queue")
    return 0


def _line(finding: "Finding", *, as_json: bool, look: bool) -> str:
    if as_json:
        return json.dumps(
            {
                "done": finding.done,
                "kind": finding.kind,
                "name": finding.name,
                "place": finding.place or None,
                "bytes": finding.size,
                "reason": finding.reason,
                "dry_run": look,
            }
        )
    where = f" of {finding.place}" if finding.place else ""
    size = f", {finding.size} bytes" if finding.size else ""
    would = "would be " if look else ""
    return f"{would}{finding.done}: {finding.kind} {finding.name}{where}{size} ({finding.reason})"
