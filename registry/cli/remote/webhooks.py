"""``moorage webhook``."""

import argparse
from pathlib import Path
from typing import Any, Final

from registry.cli.errors import Failed
from registry.cli.remote.client import Client
from registry.cli.remote.credentials import read_secret
from registry.cli.remote.output import note, print_items, print_value
from registry.cli.remote.speaking import Remote

REGISTRY: Final = "-"

_COLUMNS: Final = ("name", "url", "events", "active", "changed", "by")
_DELIVERIES: Final = ("id", "events", "queued", "due", "attempts", "error")

_WEBHOOK: Final = """\
A webhook is an address that is told what happens, by POST requests with CloudEvents in them, which
are signed. One of a project is told of that project, and seen to by its owners; with - for the
project, it is told of all, and seen to by administrators."""


def add(remote: Remote) -> None:
    """Add the commands."""
    webhook = remote.group("webhook", "tell other programs what happens", description=_WEBHOOK)
    _whose(webhook.command("list", "list webhooks", _list))
    create = webhook.command(
        "add",
        "make a webhook, or change one",
        _add,
        epilog="examples:\n"
        "  moorage webhook add demo builds https://ci.example/hook --event 'tag.*'\n"
        "  moorage webhook add - everything https://log.example/moorage",
    )
    _named(create)
    create.add_argument("address", metavar="url", help="where to send to")
    create.add_argument(
        "--event",
        action="append",
        metavar="PATTERN",
        help="what to tell of: tag.pushed, manifest.*; may be given several times (default *)",
    )
    create.add_argument(
        "--secret-file",
        type=Path,
        metavar="FILE",
        help="file with the secret for signatures; without it, one is made and shown",
    )
    create.add_argument("--paused", action="store_true", help="tell it nothing for now")
    _named(webhook.command("remove", "end a webhook, with what waits for it", _remove))
    deliveries = webhook.command("deliveries", "list what a webhook has yet to take", _deliveries)
    _named(deliveries)
    deliveries.add_argument("--dead", action="store_true", help="what it did not take in time")
    again = webhook.command("redeliver", "send dead letters again", _redeliver)
    _named(again)
    again.add_argument("delivery", nargs="*", help="their ids; none: all of them")
    _named(webhook.command("ping", "send a trial event, and say what came of it", _ping))


def _whose(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("project", help="the project; - for the registry as a whole")


def _named(parser: argparse.ArgumentParser) -> None:
    _whose(parser)
    parser.add_argument("webhook", help="name of the webhook")


def _path(options: argparse.Namespace) -> dict[str, str]:
    path = {} if options.project == REGISTRY else {"project": options.project}
    name = getattr(options, "webhook", None)
    return path | ({"webhook": name} if name else {})


def _action(options: argparse.Namespace, name: str) -> str:
    return f"registry-webhook.{name}" if options.project == REGISTRY else f"webhook.{name}"


async def _list(client: Client, options: argparse.Namespace) -> None:
    pages = client.pages(_action(options, "list"), _path(options))
    print_items([each async for each in pages], _COLUMNS, as_json=options.json)


async def _add(client: Client, options: argparse.Namespace) -> None:
    body: dict[str, Any] = {
        "url": options.address,
        "events": options.event or ["*"],
        "active": not options.paused,
    }
    if options.secret_file is not None:
        body["secret"] = read_secret(options.secret_file)
    said = (await client.ask(_action(options, "put"), _path(options), body)).value
    if options.json:
        print_value(said, as_json=True)
        return
    secret = said["secret"]
    print_value(said["webhook"] | ({"secret": secret} if secret else {}), as_json=False)
    if secret:
        note("The secret is shown this once: give it to the receiver.")


async def _remove(client: Client, options: argparse.Namespace) -> None:
    await client.ask(_action(options, "remove"), _path(options))


async def _deliveries(client: Client, options: argparse.Namespace) -> None:
    query = {"dead": "true"} if options.dead else {}
    pages = client.pages(_action(options, "deliveries"), _path(options), query=query)
    items = [each async for each in pages]
    if not options.json:
        for each in items:
            each["events"] = [event["action"] for event in each["events"]]
    print_items(items, _DELIVERIES, as_json=options.json)


async def _redeliver(client: Client, options: argparse.Namespace) -> None:
    body = {"deliveries": options.delivery}
    said = await client.ask(_action(options, "redeliver"), _path(options), body)
    print_value(said.value, as_json=options.json)


async def _ping(client: Client, options: argparse.Namespace) -> None:
    said = (await client.ask(_action(options, "ping"), _path(options), {})).value
    print_value(said, as_json=options.json)
    if not said["delivered"]:
        raise Failed(f"the event was not taken: {said['error']}")
