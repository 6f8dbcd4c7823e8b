"""``moorage audit``: who did what, and whether the log of it is whole."""

# ruff: noqa: T201  printing is what a command does

import argparse
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from registry.cli.commands import Commands
from registry.cli.errors import UsageError
from registry.cli.jobs import add_store, opened, run, store_of
from registry.cli.remote.client import Client
from registry.cli.remote.output import print_items
from registry.cli.remote.speaking import Remote, past
from registry.config import Config

if TYPE_CHECKING:
    from registry.service.audit.log import Verdict

_COLUMNS: Final = ("time", "principal", "address", "action", "result", "repository", "subject")

_LIST: Final = """\
List what happened in a project, the oldest first: for its owners, and for administrators. Without
a project, what is about none: logins, accounts, tokens. For administrators."""

_VERIFY: Final = """\
Read the whole audit log from the store that the configuration names, and say whether events were
removed, changed, added or put into another order. Exit code 1: something was found."""


def add(commands: Commands) -> None:
    """Add the commands."""
    audit = commands.group("audit", "see who did what")
    listing = Remote(audit).command(
        "list",
        "list what happened",
        _list,
        description=_LIST,
        epilog="example:\n  moorage audit list demo --since 2h",
    )
    listing.add_argument("project", nargs="?", help="a project; without it, what is about none")
    listing.add_argument(
        "--project-id", metavar="ID", help="a project by its id, also one that was removed"
    )
    listing.add_argument(
        "--since", type=past, metavar="TIME", help="not what was before: 2h, 7d, or RFC 3339"
    )
    listing.add_argument(
        "--limit", type=int, default=1000, metavar="N", help="most events (default 1000)"
    )
    verify = audit.command("verify", "check that the log is whole", _verify, description=_VERIFY)
    add_store(verify)


async def _list(client: Client, options: argparse.Namespace) -> None:
    if options.project and options.project_id:
        raise UsageError("name the project, or give its id with --project-id: not both")
    if options.limit < 1:
        raise UsageError("--limit is a number above 0")
    query: dict[str, Any] = {"limit": min(options.limit, 100)}
    if options.since:
        query["after"] = int(datetime.fromisoformat(options.since).timestamp() * 1000)
    if options.project:
        pages = client.pages("audit.project", {"project": options.project}, query=query)
    else:
        asked = query | ({"id": options.project_id} if options.project_id else {})
        pages = client.pages("audit.registry", query=asked)
    items: list[dict[str, Any]] = []
    async for each in pages:
        items.append(each)
        if len(items) == options.limit:
            break
    print_items(items, _COLUMNS, as_json=options.json)


def _verify(options: argparse.Namespace) -> int:
    config = store_of(options)
    return run(lambda: _verified(config))


async def _verified(config: Config) -> int:
    # Not at the top: the other commands need none of it.
    from registry.auditing import audit_key  # noqa: PLC0415
    from registry.service.audit.log import AuditLog  # noqa: PLC0415

    events = findings = writers = 0
    async with opened(config, "audit.verify") as backend:
        async for verdict in AuditLog(backend.store, audit_key(config)).verify():
            _tell(verdict)
            writers += bool(verdict.writer)
            events += verdict.events
            findings += len(verdict.findings)
    print(f"{events} events of {writers} processes: {findings or 'no'} findings")
    return 1 if findings else 0


def _tell(verdict: "Verdict") -> None:
    """Print the findings about one process; of very many, the first."""
    whose = f"process {verdict.writer}" if verdict.writer else "the log"
    for finding in islice(verdict.findings, 20):
        print(f"{whose}: {finding}")
    if len(verdict.findings) > 20:
        print(f"{whose}: and {len(verdict.findings) - 20} more")
    if verdict.unvouched:
        print(f"{whose}: it ended before its head told of its last {verdict.unvouched} events")
