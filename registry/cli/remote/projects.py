"""``moorage project``, ``member`` and ``share``."""

import argparse
import asyncio
import sys
from typing import Final

from registry.cli.errors import Failed, UsageError
from registry.cli.remote.client import Client
from registry.cli.remote.output import note, print_items, print_value
from registry.cli.remote.speaking import Remote

_PROJECTS: Final = ("name", "visibility", "role", "created", "by")
_MEMBERS: Final = ("principal", "role", "since", "by")
_SHARES: Final = ("target", "repository", "since", "by")
_VISIBILITIES: Final = ("private", "internal", "public")
_WAIT: Final = 1.0

_PROJECT: Final = """\
A project owns the repository of its name and all below it: demo, demo/app, demo/team/app. Only its
members can pull from it and push to it. It can be opened: internal projects can be pulled from by
everyone who has logged in, public ones by everybody."""

_MEMBER: Final = """\
Members are users (user:alice), groups (group:ml) and workloads (workload:ci/...). Each has one
role: a guest pulls; a developer pushes too; a maintainer deletes and sees to robot accounts; an
owner decides on members, shares and the project itself."""

_SHARE: Final = """\
A share lets the members of another project pull a repository of this one, or all of them. It can
be revoked at any time, and nothing else crosses the line between projects."""


def add(remote: Remote) -> None:
    """Add the commands."""
    _add_projects(remote.group("project", "see to projects", description=_PROJECT))
    _add_members(remote.group("member", "see to members of projects", description=_MEMBER))
    _add_shares(remote.group("share", "share repositories with other projects", description=_SHARE))


def _add_projects(remote: Remote) -> None:
    listing = remote.command("list", "list your projects", _list)
    listing.add_argument("--all", action="store_true", help="all that there are (administrators)")
    remote.command("show", "describe a project", _show).add_argument("project")
    create = remote.command(
        "create",
        "create a project",
        _create,
        epilog="example:\n  moorage project create demo --owner user:alice",
    )
    create.add_argument("project")
    create.add_argument("--visibility", choices=_VISIBILITIES, default="private", help="who pulls")
    create.add_argument("--owner", metavar="PRINCIPAL", default="", help="first member, not you")
    create.add_argument(
        "--adopt",
        action="store_true",
        help="take over the repositories that were pushed under its name without projects",
    )
    change = remote.command("set", "open a project to others, or close it", _set)
    change.add_argument("project")
    change.add_argument("--visibility", choices=_VISIBILITIES, required=True, help="who pulls")
    delete = remote.command(
        "delete",
        "delete a project with all that it holds",
        _delete,
        description="Delete a project with its repositories, members and robot accounts. Its name "
        "leads nowhere at once; what it held is taken away in the background, for good.",
    )
    delete.add_argument("project")
    delete.add_argument("--yes", action="store_true", help="do not ask")
    delete.add_argument("--wait", action="store_true", help="wait until all of it is gone")
    remote.command("removal", "tell how far a deletion is", _removal).add_argument(
        "id", help="the id of the project that was deleted"
    )


def _add_members(remote: Remote) -> None:
    remote.command("list", "list members", _list_members).add_argument("project")
    add_member = remote.command(
        "add",
        "make somebody a member, or change a role",
        _add_member,
        epilog="examples:\n  moorage member add demo user:bob developer\n"
        "  moorage member add demo group:ml guest",
    )
    add_member.add_argument("project")
    add_member.add_argument("principal", help="user:NAME, group:NAME or workload:NAME")
    add_member.add_argument("role", help="guest, developer, maintainer or owner")
    remove = remote.command("remove", "end a membership, at once", _remove_member)
    remove.add_argument("project")
    remove.add_argument("principal")


def _add_shares(remote: Remote) -> None:
    remote.command("list", "list what a project shares", _list_shares).add_argument("project")
    for name, text, ask in (
        ("add", "let the members of another project pull", _add_share),
        ("remove", "revoke a share, at once", _remove_share),
    ):
        parser = remote.command(name, text, ask)
        parser.add_argument("project")
        parser.add_argument("target", help="the other project: its name, or its id to add one")
        parser.add_argument(
            "--repository", metavar="NAME", help="one repository; without it, all of them"
        )


async def _list(client: Client, options: argparse.Namespace) -> None:
    query = {"all": "true"} if options.all else {}
    items = [each async for each in client.pages("project.list", query=query)]
    print_items(items, _PROJECTS, as_json=options.json)


async def _show(client: Client, options: argparse.Namespace) -> None:
    said = await client.ask("project.get", {"project": options.project})
    print_value(said.value, as_json=options.json)


async def _create(client: Client, options: argparse.Namespace) -> None:
    body = {
        "visibility": options.visibility,
        "owner": options.owner,
        "adopt": options.adopt,
    }
    said = await client.ask("project.create", {"project": options.project}, body)
    if said.status == 200:
        note("it was there already, just so")
    print_value(said.value, as_json=options.json)


async def _set(client: Client, options: argparse.Namespace) -> None:
    path, body = {"project": options.project}, {"visibility": options.visibility}
    print_value((await client.ask("project.change", path, body)).value, as_json=options.json)


async def _delete(client: Client, options: argparse.Namespace) -> None:
    path = {"project": options.project}
    found = await client.ask("project.get", path)
    if not options.yes:
        _confirm(found.value["name"])
    said = await client.ask("project.remove", path, etag=found.etag)
    while options.wait and said.value["progress"] == "purging":
        await asyncio.sleep(_WAIT)
        said = await client.ask("removal.get", {"id": said.value["id"]})
    print_value(said.value, as_json=options.json)


def _confirm(name: str) -> None:
    if not sys.stdin.isatty():
        raise UsageError("there is no terminal to ask whether you are sure: say --yes")
    note(f"This deletes the project {name} with all its images, for good.")
    sys.stderr.write("Type its name to go on: ")
    sys.stderr.flush()
    if sys.stdin.readline().strip() != name:
        raise Failed("nothing was deleted")


async def _removal(client: Client, options: argparse.Namespace) -> None:
    print_value((await client.ask("removal.get", {"id": options.id})).value, as_json=options.json)


async def _list_members(client: Client, options: argparse.Namespace) -> None:
    pages = client.pages("member.list", {"project": options.project})
    print_items([each async for each in pages], _MEMBERS, as_json=options.json)


async def _add_member(client: Client, options: argparse.Namespace) -> None:
    path = {"project": options.project, "principal": options.principal}
    said = await client.ask("member.put", path, {"role": options.role})
    print_value(said.value, as_json=options.json)


async def _remove_member(client: Client, options: argparse.Namespace) -> None:
    await client.ask("member.remove", {"project": options.project, "principal": options.principal})


async def _list_shares(client: Client, options: argparse.Namespace) -> None:
    pages = client.pages("share.list", {"project": options.project})
    print_items([each async for each in pages], _SHARES, as_json=options.json)


async def _add_share(client: Client, options: argparse.Namespace) -> None:
    path = {"project": options.project, "target": options.target}
    said = await client.ask("share.put", path, query={"repository": options.repository})
    print_value(said.value, as_json=options.json)


async def _remove_share(client: Client, options: argparse.Namespace) -> None:
    path = {"project": options.project, "target": options.target}
    await client.ask("share.remove", path, query={"repository": options.repository})
