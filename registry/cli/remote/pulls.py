"""``moorage pulls``."""

import argparse
from typing import Final

from registry.cli.remote.client import Client
from registry.cli.remote.output import print_items
from registry.cli.remote.speaking import Remote

_COLUMNS: Final = ("reference", "count", "last", "by", "digest")

_PULLS: Final = """\
List how often the manifests of a repository were asked for, by tag and by digest, and when and by
whom last. For those who run the project. It is behind by up to two minutes."""


def add(remote: Remote) -> None:
    """Add the command."""
    parser = remote.command(
        "pulls",
        "see who pulled which tag last, and how often",
        _pulls,
        description=_PULLS,
        epilog="example:\n  moorage pulls demo/app",
    )
    parser.add_argument("repository")


async def _pulls(client: Client, options: argparse.Namespace) -> None:
    path = {
        "project": options.repository.partition("/")[0],
        "repository": options.repository,
    }
    pages = client.pages("repository.pulls", path)
    print_items([each async for each in pages], _COLUMNS, as_json=options.json)
