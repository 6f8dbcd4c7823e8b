"""``moorage repository``, ``tag`` and ``explain``."""

import argparse
from typing import Final

from registry.cli.errors import UsageError
from registry.cli.remote.client import Client
from registry.cli.remote.output import print_items, print_value
from registry.cli.remote.speaking import Remote, past

_TAGS: Final = ("name", "digest", "content_bytes", "pushed", "by")

_STATES: Final = ("digest", "since", "by")

_DELETED: Final = ("digest", "tags", "deleted", "until", "by")

_EXPLAIN: Final = """\
Say whether somebody may do something in a project, and which roles, shares and settings make it
so. For those who run the project."""


def add(remote: Remote) -> None:
    """Add the commands."""
    repository = remote.group("repository", "see what projects hold")
    repository.command(
        "list", "list the repositories of a project", _list_repositories
    ).add_argument("project")
    repository.command(
        "deleted", "list deleted manifests that can be had back", _list_deleted
    ).add_argument("repository")
    repository.command(
        "delete",
        "delete a repository, with its manifests and tags",
        _delete_repository,
        description="Delete a repository, with its manifests and tags. What was deleted can be had "
        "back for a while. Where it breaks off, do it again.",
    ).add_argument("repository")
    _add_undelete(repository)
    tag = remote.group("tag", "see to tags of repositories")
    tag.command("list", "list tags with digests and sizes", _list_tags).add_argument("repository")
    for name, text, ask in (
        ("show", "describe a tag", _show_tag),
        ("delete", "delete a tag; what it points at stays", _delete_tag),
    ):
        parser = tag.command(name, text, ask)
        parser.add_argument("repository")
        parser.add_argument("tag")
    _add_past(tag)
    explain = remote.command(
        "explain",
        "say why somebody may or may not do something",
        _explain,
        description=_EXPLAIN,
        epilog="example:\n  moorage explain demo user:bob push --repository demo/app",
    )
    explain.add_argument("project")
    explain.add_argument("principal", help="user:NAME, robot:PROJECT/NAME or anonymous")
    explain.add_argument(
        "verb",
        nargs="?",
        default="pull",
        choices=("pull", "push", "delete", "list", "describe", "operate", "administer"),
        help="what it wants to do (default pull)",
    )
    explain.add_argument("--repository", metavar="NAME", help="in which repository")
    explain.add_argument(
        "--group",
        action="append",
        metavar="NAME",
        help="a group that its login names; may be given several times",
    )
    explain.add_argument("--address", metavar="ADDRESS", default="", help="where it comes from")


def _add_undelete(repository: Remote) -> None:
    parser = repository.command(
        "undelete",
        "have a deleted manifest back, with its tags, or all of a repository",
        _undelete,
        description="Have a deleted manifest back, with its tags; without a digest all that was "
        "deleted of the repository. A tag that leads elsewhere by now stays.",
        epilog="examples:\n  moorage repository undelete demo/app sha256:9f86...\n"
        "  moorage repository undelete demo/app --since 2h",
    )
    parser.add_argument("repository")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("digest", nargs="?", help="of one manifest")
    which.add_argument(
        "--since",
        type=past,
        metavar="TIME",
        help="only what was deleted then or later: 2h, 7d, or RFC 3339",
    )


def _add_past(tag: Remote) -> None:
    tag.command("history", "tell what a tag is and was", _history).add_argument(
        "tag", metavar="REPOSITORY:TAG"
    )
    parser = tag.command(
        "rollback",
        "point a tag back at what it was",
        _rollback,
        description="Point a tag back at what it was, if nobody moves it meanwhile. A tag that was "
        "deleted is had back, and so is a deleted image as long as it can be.",
        epilog="examples:\n  moorage tag rollback demo/app:latest\n"
        "  moorage tag rollback demo/app:latest --to sha256:1d4c...",
    )
    parser.add_argument("tag", metavar="REPOSITORY:TAG")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--to", metavar="DIGEST", help="a digest of its history")
    where.add_argument(
        "--steps", type=int, default=1, metavar="N", help="how many states back (default 1)"
    )


def reference(text: str) -> dict[str, str]:
    """The parameters of a path about a tag, from ``REPOSITORY:TAG``. ``UsageError``."""
    repository, colon, tag = text.rpartition(":")
    if not colon or not repository or "/" in tag:
        raise UsageError(f"{text!r} is no tag of a repository such as demo/app:latest")
    return {"repository": repository, "tag": tag}


async def _history(client: Client, options: argparse.Namespace) -> None:
    said = await client.ask("tag.history", reference(options.tag))
    print_items(said.value["items"], _STATES, as_json=options.json)


async def _rollback(client: Client, options: argparse.Namespace) -> None:
    path = reference(options.tag)
    standing = await client.ask("tag.history", path)
    body = {"to": options.to} if options.to else {"steps": options.steps}
    said = await client.ask(
        "tag.rollback", path, body, etag=standing.etag, only_new=not standing.etag
    )
    print_value(said.value, as_json=options.json)


async def _list_repositories(client: Client, options: argparse.Namespace) -> None:
    pages = client.pages("repository.list", {"project": options.project})
    print_items([each async for each in pages], ("name",), as_json=options.json)


async def _list_deleted(client: Client, options: argparse.Namespace) -> None:
    pages = client.pages("repository.deleted", {"repository": options.repository})
    print_items([each async for each in pages], _DELETED, as_json=options.json)


async def _delete_repository(client: Client, options: argparse.Namespace) -> None:
    said = await client.ask("repository.delete", {"repository": options.repository})
    print_value(said.value, as_json=options.json)


async def _undelete(client: Client, options: argparse.Namespace) -> None:
    path, body = {"repository": options.repository}, {}
    if options.digest is not None:
        action, path["digest"] = "repository.undelete", options.digest
    else:
        action = "repository.undelete-all"
        if options.since is not None:
            body["since"] = options.since
    print_value((await client.ask(action, path, body)).value, as_json=options.json)


async def _list_tags(client: Client, options: argparse.Namespace) -> None:
    pages = client.pages("repository.tags", {"repository": options.repository})
    print_items([each async for each in pages], _TAGS, as_json=options.json)


async def _show_tag(client: Client, options: argparse.Namespace) -> None:
    path = {"repository": options.repository, "tag": options.tag}
    print_value((await client.ask("tag.get", path)).value, as_json=options.json)


async def _delete_tag(client: Client, options: argparse.Namespace) -> None:
    await client.ask("tag.delete", {"repository": options.repository, "tag": options.tag})


async def _explain(client: Client, options: argparse.Namespace) -> None:
    query = {
        "principal": options.principal,
        "verb": options.verb,
        "repository": options.repository,
        "group": options.group or [],
        "address": options.address or None,
    }
    said = await client.ask("explain", {"project": options.project}, query=query)
    print_value(said.value, as_json=options.json)
