"""``moorage collection`` and ``moorage blob``."""

import argparse

from registry.cli.remote.client import Client
from registry.cli.remote.output import print_value
from registry.cli.remote.speaking import Remote


def add(remote: Remote) -> None:
    """Add the commands."""
    remote.command("collection", "tell what waits for the collector of garbage", _collection)
    blob = remote.group("blob", "see what becomes of blobs")
    parser = blob.command(
        "show",
        "tell whether a blob is condemned, and what needs it",
        _show,
        description="Tell in which state a blob of a repository is, until when it stays at least, "
        "and which manifests need it. Nothing is kept by that.",
    )
    parser.add_argument("repository")
    parser.add_argument("digest")


async def _collection(client: Client, options: argparse.Namespace) -> None:
    print_value((await client.ask("collection.get", {})).value, as_json=options.json)


async def _show(client: Client, options: argparse.Namespace) -> None:
    path = {"repository": options.repository, "digest": options.digest}
    print_value((await client.ask("blob.describe", path)).value, as_json=options.json)
