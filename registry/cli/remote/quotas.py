"""``moorage quota show`` and ``set``."""

import argparse
import re
from typing import Final

from registry.cli.remote.client import Client
from registry.cli.remote.output import print_value
from registry.cli.remote.speaking import Remote

_SIZE: Final = re.compile(r"(\d+)\s*([KMGT]i?B?|B)?", re.IGNORECASE)
_UNITS: Final = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_BINARY: Final = {"k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}
_NONE: Final = "none"


def add(remote: Remote) -> None:
    """Add the commands."""
    remote.command("show", "tell what a project may hold, and what it holds", _show).add_argument(
        "project"
    )
    change = remote.command(
        "set",
        "set what a project may hold (administrators)",
        _set,
        description="Set what a project may hold. What is not given stays as it is; none: any "
        "number. What is stored stays, also where it is more.",
        epilog="examples:\n  moorage quota set demo --bytes 50GiB --tags 1000\n"
        "  moorage quota set demo --bytes none",
    )
    change.add_argument("project")
    change.add_argument("--bytes", type=size, metavar="SIZE", help="such as 500MB or 50GiB")
    change.add_argument("--repositories", type=number, metavar="N", help="number of repositories")
    change.add_argument("--tags", type=number, metavar="N", help="tags of all repositories")
    change.add_argument(
        "--warn-percent", type=int, metavar="N", help="from when on pushes are warned; 100: never"
    )


def size(text: str) -> int:
    """Read a number of bytes; -1 for none. ``ArgumentTypeError``."""
    if text == _NONE:
        return -1
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no size: write 500MB, 50GiB, or none")
    unit = (found[2] or "").lower().removesuffix("b")
    return int(found[1]) * (_BINARY[unit[0]] if unit.endswith("i") else _UNITS[unit])


def number(text: str) -> int:
    """Read a number; -1 for none. ``ArgumentTypeError``."""
    if text == _NONE:
        return -1
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no number: write 100, or none")
    return int(text)


async def _show(client: Client, options: argparse.Namespace) -> None:
    said = await client.ask("quota.get", {"project": options.project})
    print_value(said.value, as_json=options.json)


async def _set(client: Client, options: argparse.Namespace) -> None:
    path = {"project": options.project}
    found = await client.ask("quota.get", path)
    body = dict(found.value["limits"] or {})
    for kind in ("bytes", "repositories", "tags", "warn_percent"):
        given = getattr(options, kind)
        if given is not None:
            body[kind] = None if given < 0 else given
    said = await client.ask("quota.set", path, body, etag=found.etag)
    print_value(said.value, as_json=options.json)
