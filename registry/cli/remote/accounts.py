"""``moorage user``, ``token`` and ``whoami``."""

import argparse
from pathlib import Path
from typing import Any, Final

from registry.cli.errors import UsageError
from registry.cli.remote.client import Client
from registry.cli.remote.credentials import new_password, read_secret
from registry.cli.remote.output import note, print_items, print_value
from registry.cli.remote.speaking import Remote, moment

_USERS: Final = ("name", "local", "administrator", "blocked", "groups", "created")
_TOKENS: Final = ("id", "label", "kind", "scopes", "created", "expires")

_USER: Final = """\
Accounts of people. Local ones have a password here; of people from elsewhere (OIDC, htpasswd) it
can be said that they are administrators, or blocked. All but password is for administrators."""

_ACCESS: Final = """\
An access token stands for you where a tool must not have your password, and can be narrowed by
scopes. Log in with your user name, and the token as the password. Refresh tokens, which docker
login keeps, are listed and revoked here too."""

_BOOTSTRAP: Final = """\
Make the first administrator of a new registry. The secret is the one of auth.bootstrap_secret; it
is good once."""


def add(remote: Remote) -> None:
    """Add the commands."""
    _add_users(remote.group("user", "see to accounts of people", description=_USER))
    _add_tokens(remote.group("token", "see to access tokens", description=_ACCESS))
    remote.command("whoami", "tell whom the registry takes you for", _whoami)


def _add_users(remote: Remote) -> None:
    remote.command("list", "list users", _list)
    remote.command("show", "describe a user", _show).add_argument("name")
    create = remote.command("create", "make a local account", _create)
    create.add_argument("name")
    _add_password(create)
    change = remote.command("set", "change what is known of a user", _set)
    change.add_argument("name")
    change.add_argument(
        "--block", dest="blocked", action=argparse.BooleanOptionalAction, help="let it do nothing"
    )
    for parser in (create, change):
        parser.add_argument(
            "--administrator",
            action=argparse.BooleanOptionalAction,
            help="whether it runs the registry",
        )
        parser.add_argument(
            "--group",
            action="append",
            metavar="NAME",
            help="a group that it is in; may be given several times",
        )
    password = remote.command("password", "change a password: yours, or another's", _password)
    password.add_argument("name", nargs="?", help="whose; without it, yours")
    _add_password(password)
    remote.command(
        "delete", "end an account, with its memberships and tokens", _delete
    ).add_argument("name")
    bootstrap = remote.command(
        "bootstrap", "make the first administrator", _bootstrap, description=_BOOTSTRAP
    )
    bootstrap.add_argument("name")
    bootstrap.add_argument(
        "--secret-file", type=Path, required=True, metavar="FILE", help="file with the secret"
    )
    _add_password(bootstrap)


def _add_password(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--new-password-file",
        type=Path,
        metavar="FILE",
        help="file with the new password; without it, you are asked",
    )


def _add_tokens(remote: Remote) -> None:
    listing = remote.command("list", "list access tokens and refresh tokens", _list_tokens)
    create = remote.command(
        "create",
        "make an access token, and show it",
        _create_token,
        epilog="example:\n"
        "  moorage token create laptop --scope 'repository:demo/*:pull,push' --expires 30d",
    )
    create.add_argument("label", help="what it is for")
    create.add_argument(
        "--scope",
        action="append",
        metavar="SCOPE",
        help="the most that it is good for; may be given several times; without it, all you may do",
    )
    create.add_argument("--expires", type=moment, metavar="TIME", help="its end: 30d, or a time")
    revoke = remote.command("revoke", "revoke a token, with all that was made from it", _revoke)
    revoke.add_argument("id")
    for parser in (listing, revoke):
        parser.add_argument("--of", metavar="NAME", help="another user's (administrators)")


async def _whoami(client: Client, options: argparse.Namespace) -> None:
    print_value((await client.ask("whoami")).value, as_json=options.json)


async def _list(client: Client, options: argparse.Namespace) -> None:
    items = [each async for each in client.pages("user.list")]
    print_items(items, _USERS, as_json=options.json)


async def _show(client: Client, options: argparse.Namespace) -> None:
    said = await client.ask("user.get", {"user": options.name})
    print_value(said.value, as_json=options.json)


async def _create(client: Client, options: argparse.Namespace) -> None:
    body: dict[str, Any] = {
        "password": new_password(options.new_password_file),
        "groups": options.group or [],
        "administrator": bool(options.administrator),
    }
    said = await client.ask("user.put", {"user": options.name}, body)
    print_value(said.value, as_json=options.json)


async def _set(client: Client, options: argparse.Namespace) -> None:
    given = {
        "groups": options.group,
        "administrator": options.administrator,
        "blocked": options.blocked,
    }
    wanted = {key: value for key, value in given.items() if value is not None}
    if not wanted:
        raise UsageError("say what is to be different: --block, --administrator, --group")
    path = {"user": options.name}
    found = await client.ask("user.get", path)
    kept = {key: found.value[key] for key in given}
    said = await client.ask("user.put", path, kept | wanted, etag=found.etag)
    print_value(said.value, as_json=options.json)


async def _password(client: Client, options: argparse.Namespace) -> None:
    fresh = new_password(options.new_password_file)
    body = {"password": fresh, "current": client.secret}
    await client.ask("user.password", body=body, query={"user": options.name})
    note("The password is changed; what was logged in with the old one is logged out.")


async def _delete(client: Client, options: argparse.Namespace) -> None:
    await client.ask("user.remove", {"user": options.name})


async def _bootstrap(client: Client, options: argparse.Namespace) -> None:
    body = {
        "secret": read_secret(options.secret_file),
        "name": options.name,
        "password": new_password(options.new_password_file),
    }
    print_value((await client.ask("user.bootstrap", body=body)).value, as_json=options.json)


async def _list_tokens(client: Client, options: argparse.Namespace) -> None:
    pages = client.pages("token.list", query={"user": options.of})
    print_items([each async for each in pages], _TOKENS, as_json=options.json)


async def _create_token(client: Client, options: argparse.Namespace) -> None:
    body = {
        "label": options.label,
        "scopes": " ".join(options.scope) if options.scope else None,
        "expires": options.expires,
    }
    made = (await client.ask("token.create", body=body)).value
    if options.json:
        print_value(made, as_json=True)
        return
    print_value(made["token"] | {"login": made["login"], "secret": made["secret"]}, as_json=False)
    note("The token is shown this once: keep it where it is needed.")


async def _revoke(client: Client, options: argparse.Namespace) -> None:
    await client.ask("token.remove", {"id": options.id}, query={"user": options.of})
