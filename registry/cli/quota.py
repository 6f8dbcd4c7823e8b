"""``moorage quota``: what projects may hold; and counting what they do, as a job."""

# ruff: noqa: T201  printing is what a command does

import argparse
import asyncio
import json
import sys
from typing import Final

from registry.cli.commands import Commands
from registry.cli.errors import Failed
from registry.cli.remote import quotas as remote
from registry.cli.remote.speaking import Remote
from registry.cli.settings import add_files, add_settings, load
from registry.config import Config, ConfigError

_QUOTA: Final = """\
A quota says how many bytes, repositories and tags a project may hold. A push that does not fit is
refused before its bytes are sent."""

_RECONCILE: Final = """\
Count what every project with a quota holds, and make that what counts. It costs a listing of their
keys, and a read for each blob and manifest. Clients may push meanwhile; what they do may then count
too much, and is put right by the next count. A registry counts by itself what is due."""


def add(commands: Commands) -> None:
    """Add the commands: some speak to a registry, one works on its store."""
    group = commands.group("quota", "see to what projects may hold", description=_QUOTA)
    remote.add(Remote(group))
    parser = group.command(
        "reconcile", "count what projects hold", _reconcile, description=_RECONCILE
    )
    add_files(parser)
    add_settings(parser, only=("--data",))
    parser.add_argument("--project", metavar="ID", default="", help="one project, by its id")
    parser.add_argument("--json", action="store_true", help="print a line of JSON for each project")


def _reconcile(options: argparse.Namespace) -> int:
    config = load(options)
    if config.storage.driver == "memory":
        raise ConfigError("what is in memory belongs to the process that has it")
    from registry.service.quotas.quotas import FAILURES  # noqa: PLC0415  as below

    try:
        return asyncio.run(_run(config, options))
    except (*FAILURES, OSError) as error:
        raise Failed(str(error)) from error


async def _run(config: Config, options: argparse.Namespace) -> int:
    # Not at the top: the other commands need none of it.
    from registry.backend import opened  # noqa: PLC0415
    from registry.http.metrics import Metrics  # noqa: PLC0415
    from registry.service.quotas.quotas import Quotas  # noqa: PLC0415
    from registry.version import __version__  # noqa: PLC0415

    again = 0
    async with opened(config, Metrics(version=__version__)) as backend:
        if not backend.conditional:
            raise Failed(
                "this store does not judge between two writers: only the one process that serves "
                "it may count"
            )
        quotas = Quotas(backend.store, backend.coordinator)
        for tenant in [options.project] if options.project else await quotas.tenants():
            counted = await quotas.count(tenant)
            if counted is None:
                again += 1
                continue
            account = counted.account
            found = {
                "project": tenant,
                "bytes": account.used.bytes,
                "physical_bytes": account.physical,
                "repositories": account.used.repositories,
                "tags": account.used.tags,
                "drift": counted.drift,
            }
            if options.json:
                print(json.dumps(found))
            else:
                print(" ".join(f"{key}={value}" for key, value in found.items()))
    if again:
        print(f"{again} were not counted: they have no quota, or others count", file=sys.stderr)
        return 1
    return 0
