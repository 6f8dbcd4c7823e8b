"""``moorage environment``."""

import argparse
from typing import Any, Final

from registry.cli.remote.client import Client
from registry.cli.remote.content import reference
from registry.cli.remote.output import note, print_items, print_value
from registry.cli.remote.speaking import Remote

_ENVIRONMENTS: Final = ("repository", "versions", "newest", "pushed", "logical", "physical")
_VERSIONS: Final = ("tag", "pushed", "base", "previous", "content_bytes", "added_bytes", "pulled")
_LAYERS: Final = ("digest", "bytes", "origin")
_PACKAGES: Final = ("name", "kind", "versions")
_CHANGES: Final = ("name", "kind", "before", "after")

_GROUP: Final = """\
An environment is a repository whose images are versions of one thing: a base image, and libraries
that were added. Which base an image begins with is told by its layers, what it has by the list of
packages (SPDX, CycloneDX, conda list --json) that was pushed with it."""


def add(remote: Remote) -> None:
    """Add the commands."""
    group = remote.group(
        "environment", "see images as versions of environments", description=_GROUP
    )
    for name, text, ask in (
        ("list", "list a project's environments, and what they take", _list),
        ("storage", "tell what a project's images take, and share", _storage),
    ):
        group.command(name, text, ask).add_argument("project")
    group.command("versions", "list versions, the newest first", _versions).add_argument(
        "repository"
    )
    for name, text, ask in (
        ("show", "describe a version, layer by layer", _show),
        ("packages", "list the packages of a version", _packages),
        ("diff", "tell how a version differs from the one before it", _diff),
    ):
        parser = group.command(name, text, ask)
        parser.add_argument("tag", metavar="REPOSITORY:TAG")
        if ask is _diff:
            parser.add_argument("--since", metavar="TAG", help="compare it with this one")


async def _list(client: Client, options: argparse.Namespace) -> None:
    pages = client.pages("environment.list", {"project": options.project})
    items = [each async for each in pages]
    if not options.json:
        items = [
            {
                **each,
                "logical": each["storage"]["logical_bytes"],
                "physical": each["storage"]["physical_bytes"],
            }
            for each in items
        ]
    print_items(items, _ENVIRONMENTS, as_json=options.json)


async def _storage(client: Client, options: argparse.Namespace) -> None:
    said = await client.ask("environment.storage", {"project": options.project})
    print_value(said.value, as_json=options.json)


async def _versions(client: Client, options: argparse.Namespace) -> None:
    pages = client.pages("environment.versions", {"repository": options.repository})
    items = [each async for each in pages]
    if not options.json:
        items = [_flat(each) for each in items]
    print_items(items, _VERSIONS, as_json=options.json)


async def _show(client: Client, options: argparse.Namespace) -> None:
    version = (await client.ask("environment.version", reference(options.tag))).value
    if options.json:
        print_value(version, as_json=True)
        return
    layers = version.pop("layer_list")
    print_value(version, as_json=False)
    print_items(layers, _LAYERS, as_json=False)


async def _packages(client: Client, options: argparse.Namespace) -> None:
    await _print_pages(client, options, "environment.packages", {}, _PACKAGES)


async def _diff(client: Client, options: argparse.Namespace) -> None:
    await _print_pages(client, options, "environment.changes", {"since": options.since}, _CHANGES)


async def _print_pages(
    client: Client,
    options: argparse.Namespace,
    action: str,
    query: dict[str, Any],
    columns: tuple[str, ...],
) -> None:
    """Print the items of all pages; what else the answer says goes beside them."""
    path = reference(options.tag)
    said = (await client.ask(action, path, query={**query, "limit": 1})).value
    pages = client.pages(action, path, query=query)
    print_items([each async for each in pages], columns, as_json=options.json)
    for key in ("since", "added_bytes", "removed_bytes", "problem"):
        if said.get(key) is not None:
            note(f"{key.replace('_', ' ')}: {said[key]}")


def _flat(version: dict[str, Any]) -> dict[str, Any]:
    base, pull = version["base"], version["last_pull"]
    return {
        **version,
        "base": f"{base['repository']}:{base['tag']}" if base else None,
        "pulled": f"{pull['at']} {pull['by']}" if pull else None,
    }
