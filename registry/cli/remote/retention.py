"""``moorage retention``."""

import argparse
from collections.abc import AsyncIterator
from typing import Any, Final

from registry.cli.errors import UsageError
from registry.cli.remote.client import Client
from registry.cli.remote.output import note, print_items, print_value
from registry.cli.remote.speaking import Remote

_RULES: Final = (
    "name",
    "tags",
    "exceptions",
    "keep_last",
    "younger_than_days",
    "pulled_within_days",
)
_VERDICTS: Final = ("repository", "kind", "name", "goes", "why")
_GONE: Final = ("repository", "kind", "name")

_ABOUT: Final = """\
What a project keeps. A tag that rules match is deleted, unless one of them keeps it; a tag that no
rule matches stays, and so does one that has to by a tag rule. The registry sees to it every hour;
plan tells what would go, and why."""


def add(remote: Remote) -> None:
    """Add the commands."""
    group = remote.group("retention", "see to what projects keep", description=_ABOUT)
    group.command("show", "tell what a project keeps", _show).add_argument("project")
    put = group.command(
        "set",
        "add a rule of retention, or change the one of that name",
        _set,
        epilog="example:\n  moorage retention set demo builds 'ci-*' --keep-last 20 "
        "--younger-than 30",
    )
    put.add_argument("project")
    put.add_argument("name")
    put.add_argument("pattern", nargs="+", help="tags that it is about, as shell globs")
    put.add_argument(
        "--except",
        action="append",
        default=[],
        dest="exceptions",
        metavar="PATTERN",
        help="tags that are not meant; may be given several times",
    )
    put.add_argument("--keep-last", type=int, metavar="N", help="keep so many, pushed last")
    put.add_argument("--pulled-within", type=float, metavar="DAYS", help="keep what was pulled")
    put.add_argument("--younger-than", type=float, metavar="DAYS", help="keep what is younger")
    remove = group.command("remove", "remove a rule of retention", _remove)
    remove.add_argument("project")
    remove.add_argument("name")
    untagged = group.command("untagged", "say after how many days untagged manifests go", _untagged)
    untagged.add_argument("project")
    untagged.add_argument("days", help="a number of days, or never")
    for name, text, ask in (
        ("plan", "tell what would go now, and why; nothing is deleted", _plan),
        ("run", "delete what goes, now", _run),
    ):
        parser = group.command(name, text, ask)
        parser.add_argument("project")
        parser.add_argument(
            "--repository", metavar="NAME", help="one repository; without it, all of the project"
        )


async def _show(client: Client, options: argparse.Namespace) -> None:
    _print(await _read(client, options.project), options)


async def _set(client: Client, options: argparse.Namespace) -> None:
    rule = {
        "name": options.name,
        "tags": options.pattern,
        "exceptions": options.exceptions,
        "keep_last": options.keep_last,
        "younger_than_days": options.younger_than,
        "pulled_within_days": options.pulled_within,
    }
    found = await _read(client, options.project)
    rules = found["rules"]
    if any(each["name"] == options.name for each in rules):
        found["rules"] = [rule if each["name"] == options.name else each for each in rules]
    else:
        found["rules"] = [*rules, rule]
    await _write(client, options, found)


async def _remove(client: Client, options: argparse.Namespace) -> None:
    found = await _read(client, options.project)
    kept = [each for each in found["rules"] if each["name"] != options.name]
    if len(kept) == len(found["rules"]):
        raise UsageError(f"{options.project} has no rule of retention {options.name!r}")
    found["rules"] = kept
    await _write(client, options, found)


async def _untagged(client: Client, options: argparse.Namespace) -> None:
    try:
        days = None if options.days == "never" else float(options.days)
    except ValueError:
        raise UsageError(f"{options.days!r} is no number of days, nor never") from None
    found = await _read(client, options.project)
    found["untagged_days"] = days
    await _write(client, options, found)


async def _read(client: Client, project: str) -> dict[str, Any]:
    said = await client.ask("retention.get", {"project": project})
    return {**said.value, "etag": said.etag}


async def _write(client: Client, options: argparse.Namespace, found: dict[str, Any]) -> None:
    body = {"rules": found["rules"], "untagged_days": found["untagged_days"]}
    etag = found["etag"]
    path = {"project": options.project}
    said = await client.ask("retention.put", path, body, etag=etag, only_new=not etag)
    _print({**said.value}, options)


def _print(found: dict[str, Any], options: argparse.Namespace) -> None:
    found.pop("etag", None)
    if options.json:
        print_value(found, as_json=True)
        return
    print_items(found["rules"], _RULES, as_json=False)
    days = found["untagged_days"]
    note("untagged manifests stay" if days is None else f"untagged manifests go after {days:g} d")


async def _repositories(client: Client, options: argparse.Namespace) -> AsyncIterator[str]:
    if options.repository:
        yield options.repository
        return
    async for each in client.pages("repository.list", {"project": options.project}):
        yield each["name"]


async def _plan(client: Client, options: argparse.Namespace) -> None:
    items = []
    async for name in _repositories(client, options):
        after: str | None = ""
        while after is not None:
            body = {"after": after}
            page = (await client.ask("retention.plan", {"repository": name}, body)).value
            items += [{"repository": name, **each} for each in page["items"]]
            after = page["next"]
    print_items(items, _VERDICTS, as_json=options.json)


async def _run(client: Client, options: argparse.Namespace) -> None:
    gone = []
    async for name in _repositories(client, options):
        more = True
        while more:
            said = (await client.ask("retention.run", {"repository": name}, {})).value
            for kind in ("tags", "manifests"):
                gone += [{"repository": name, "kind": kind[:-1], "name": n} for n in said[kind]]
            more = said["more"] and bool(said["tags"] or said["manifests"])
    print_items(gone, _GONE, as_json=options.json)
