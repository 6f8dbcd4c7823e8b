"""``moorage platform reconcile``."""

import argparse
from typing import Final

from registry.cli.errors import Failed
from registry.cli.remote.client import Client
from registry.cli.remote.output import print_items
from registry.cli.remote.speaking import Remote

_COLUMNS: Final = ("number", "name", "drift", "mended", "detail")

_RECONCILE: Final = """\
Compare the projects that a Hopsworks platform lists with those that are here, and mend what
differs: what is missing is made, members get their roles, and a project that its lists have not
had for a while ends. For the platform, and for administrators."""


def add(remote: Remote) -> None:
    """Add the command."""
    platform = remote.group("platform", "see to the projects of a platform")
    parser = platform.command(
        "reconcile",
        "compare with the platform's list of projects, and mend what differs",
        _reconcile,
        description=_RECONCILE,
        epilog="example:\n  moorage platform reconcile --dry-run",
    )
    parser.add_argument("--dry-run", action="store_true", help="only tell what differs")
    parser.add_argument(
        "--ends", type=int, metavar="N", help="end up to N projects (platform.reconcile_ends)"
    )


async def _reconcile(client: Client, options: argparse.Namespace) -> None:
    body = {"dry_run": options.dry_run, "ends": options.ends}
    said = await client.ask("platform.reconcile", {}, body)
    print_items(said.value["findings"], _COLUMNS, as_json=options.json)
    if said.value["held"]:
        raise Failed(
            "more projects were to be ended than may be at once, so none was: look at the list, "
            "then allow them with --ends"
        )
