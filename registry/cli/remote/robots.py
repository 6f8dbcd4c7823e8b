"""``moorage robot``: accounts for CI, for pull secrets, for whatever is no person."""

import argparse
from typing import Any, Final

from registry.cli.errors import UsageError
from registry.cli.remote.client import Client, Said
from registry.cli.remote.output import note, print_items, print_value
from registry.cli.remote.speaking import Remote, moment

_COLUMNS: Final = ("name", "login", "role", "scopes", "expires", "networks")

_ROBOT: Final = """\
A robot account belongs to one project and logs in as <project>+<name> with a secret, which is shown
once. Give it no more than it needs: a role, scopes that narrow it to some repositories, an end, the
networks that it comes from."""


def add(remote: Remote) -> None:
    """Add the commands."""
    robot = remote.group("robot", "see to robot accounts of projects", description=_ROBOT)
    robot.command("list", "list robot accounts", _list).add_argument("project")
    _named(robot.command("show", "describe a robot account", _show))
    create = robot.command(
        "create",
        "make a robot account, and show its secret",
        _create,
        epilog="examples:\n"
        "  moorage robot create demo ci --expires 90d\n"
        "  moorage robot create demo pull --role guest --scope 'repository:demo/*:pull'",
    )
    _named(create)
    _add_terms(create, "developer")
    change = robot.command("set", "change what a robot account may do; its secret stays", _set)
    _named(change)
    _add_terms(change, None)
    rotate = robot.command("rotate", "give a robot account a new secret, and show it", _rotate)
    _named(rotate)
    rotate.add_argument(
        "--overlap",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="how long the old secret stays good too (default 0)",
    )
    _named(robot.command("delete", "end a robot account, at once", _delete))


def _named(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("project")
    parser.add_argument("robot", help="name of the robot account, without the project")


def _add_terms(parser: argparse.ArgumentParser, role: str | None) -> None:
    parser.add_argument(
        "--role",
        choices=("guest", "developer", "maintainer"),
        default=role,
        help=f"what it is in the project (default {role or 'as it is'})",
    )
    parser.add_argument(
        "--scope",
        action="append",
        metavar="SCOPE",
        help="the most that it may do: repository:demo/*:pull; may be given several times",
    )
    parser.add_argument("--expires", type=moment, metavar="TIME", help="its end: 90d, or a time")
    parser.add_argument(
        "--network",
        action="append",
        metavar="NETWORK",
        help="from where it may come: 10.0.0.0/8; may be given several times",
    )


def _terms(options: argparse.Namespace) -> dict[str, Any]:
    """What the options say; what they do not is left out."""
    given = {
        "role": options.role,
        "scopes": " ".join(options.scope) if options.scope else None,
        "expires": options.expires,
        "networks": options.network,
    }
    return {key: value for key, value in given.items() if value is not None}


def _path(options: argparse.Namespace) -> dict[str, str]:
    return {"project": options.project, "robot": options.robot}


def _print_issued(said: Said, *, as_json: bool) -> None:
    if as_json:
        print_value(said.value, as_json=True)
        return
    robot, secret = said.value["robot"], said.value["secret"]
    print_value(robot | ({"secret": secret} if secret else {}), as_json=False)
    if secret:
        note("The secret is shown this once: keep it where it is needed.")


async def _list(client: Client, options: argparse.Namespace) -> None:
    pages = client.pages("robot.list", {"project": options.project})
    print_items([each async for each in pages], _COLUMNS, as_json=options.json)


async def _show(client: Client, options: argparse.Namespace) -> None:
    print_value((await client.ask("robot.get", _path(options))).value, as_json=options.json)


async def _create(client: Client, options: argparse.Namespace) -> None:
    said = await client.ask("robot.put", _path(options), _terms(options), only_new=True)
    _print_issued(said, as_json=options.json)


async def _set(client: Client, options: argparse.Namespace) -> None:
    wanted = _terms(options)
    if not wanted:
        raise UsageError("say what is to be different: --role, --scope, --expires, --network")
    found = await client.ask("robot.get", _path(options))
    kept = {key: found.value[key] for key in ("role", "scopes", "expires", "networks")}
    said = await client.ask("robot.put", _path(options), kept | wanted, etag=found.etag)
    _print_issued(said, as_json=options.json)


async def _rotate(client: Client, options: argparse.Namespace) -> None:
    body = {"overlap_seconds": options.overlap}
    _print_issued(await client.ask("robot.rotate", _path(options), body), as_json=options.json)


async def _delete(client: Client, options: argparse.Namespace) -> None:
    await client.ask("robot.remove", _path(options))
