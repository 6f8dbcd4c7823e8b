"""``moorage tag-rules``."""

import argparse
from typing import Any, Final

from registry.cli.errors import UsageError
from registry.cli.remote.client import Client
from registry.cli.remote.output import print_items, print_value
from registry.cli.remote.speaking import Remote

_RULES: Final = ("name", "tags", "exceptions", "changed_by")

_ABOUT: Final = """\
Tags that match a rule of their project stay what they are, once they are there: they can't be moved
or deleted, by nobody or only by members with a role. Patterns are shell globs: v* is of a tag in
every repository of the project, demo/app:v* of one of demo/app."""


def add(remote: Remote) -> None:
    """Add the commands."""
    group = remote.group("tag-rules", "see to tags that stay what they are", description=_ABOUT)
    group.command("show", "list the tag rules of a project", _show).add_argument("project")
    put = group.command(
        "set",
        "add a tag rule, or change the one of that name",
        _set,
        epilog="examples:\n  moorage tag-rules set demo releases 'v*' --except '*-rc*'\n"
        "  moorage tag-rules set demo live 'demo/app:live' --changed-by owner",
    )
    put.add_argument("project")
    put.add_argument("name")
    put.add_argument("pattern", nargs="+", help="tags that stay, as shell globs")
    put.add_argument(
        "--except", action="append", default=[], dest="exceptions", metavar="PATTERN",
        help="tags that are not meant; may be given several times",
    )  # fmt: skip
    put.add_argument(
        "--changed-by",
        choices=("maintainer", "owner", "nobody"),
        default="nobody",
        help="who may move and delete them all the same (default nobody)",
    )
    remove = group.command("remove", "remove a tag rule", _remove)
    remove.add_argument("project")
    remove.add_argument("name")


async def _show(client: Client, options: argparse.Namespace) -> None:
    said = await client.ask("tag-rules.get", {"project": options.project})
    print_items(said.value["rules"], _RULES, as_json=options.json)


async def _set(client: Client, options: argparse.Namespace) -> None:
    rule = {
        "name": options.name,
        "tags": options.pattern,
        "exceptions": options.exceptions,
        "changed_by": options.changed_by,
    }
    rules, etag = await _read(client, options.project)
    if any(each["name"] == options.name for each in rules):
        rules = [rule if each["name"] == options.name else each for each in rules]
    else:
        rules.append(rule)
    await _write(client, options, rules, etag)


async def _remove(client: Client, options: argparse.Namespace) -> None:
    rules, etag = await _read(client, options.project)
    kept = [each for each in rules if each["name"] != options.name]
    if len(kept) == len(rules):
        raise UsageError(f"{options.project} has no tag rule {options.name!r}")
    await _write(client, options, kept, etag)


async def _read(client: Client, project: str) -> tuple[list[dict[str, Any]], str]:
    said = await client.ask("tag-rules.get", {"project": project})
    return list(said.value["rules"]), said.etag


async def _write(
    client: Client, options: argparse.Namespace, rules: list[dict[str, Any]], etag: str
) -> None:
    said = await client.ask(
        "tag-rules.put",
        {"project": options.project},
        {"rules": rules},
        etag=etag,
        only_new=not etag,
    )
    if options.json:
        print_value(said.value, as_json=True)
    else:
        print_items(said.value["rules"], _RULES, as_json=False)
