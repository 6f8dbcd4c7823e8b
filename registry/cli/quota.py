"""``moorage quota``: what projects may hold; and counting what they do, as a job."""

# ruff: noqa: T201  printing is what a command does

import argparse
import json
import sys
from typing import Final

from registry.cli.commands import Commands
from registry.cli.jobs import add_store, opened, run, store_of
from registry.cli.remote import quotas as remote
from registry.cli.remote.speaking import Remote
from registry.config import Config

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
    add_store(parser)
    parser.add_argument("--project", metavar="ID", default="", help="one project, by its id")
    parser.add_argument("--json", action="store_true", help="print a line of JSON for each project")


def _reconcile(options: argparse.Namespace) -> int:
    config = store_of(options)
    return run(lambda: _run(config, options))


async def _run(config: Config, options: argparse.Namespace) -> int:
    # Not at the top: the other commands need none of it.
    from registry.service.quotas.quotas import Quotas  # noqa: PLC0415

    left = 0

    def failed(tenant: str, error: Exception) -> None:
        print(f"project {tenant} could not be counted: {error}", file=sys.stderr)

    alone = "only the one process that serves it may count"
    async with opened(config, "quota.count", alone=alone) as backend:
        counting = Quotas(backend.store, backend.coordinator).counting
        tenants = [options.project] if options.project else await counting.tenants()
        left = len(tenants)
        async for tenant, counted in counting.all_of(tenants, failed):
            left -= 1
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
    if left:
        print(
            f"{left} were not counted: they have no quota, others count, or it failed",
            file=sys.stderr,
        )
        return 1
    return 0
