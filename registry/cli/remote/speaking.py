"""How commands that speak to a registry are declared and run."""

import argparse
import asyncio
import os
import re
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, Final

from registry.cli.commands import Commands, Run
from registry.cli.errors import UsageError
from registry.cli.remote import credentials
from registry.cli.remote.client import Client

DEFAULT_URL: Final = "http://127.0.0.1:5000"

Ask = Callable[[Client, argparse.Namespace], Awaitable[None]]
"""What a command does with the registry, and prints."""

_CONNECTION: Final = f"""
The registry is the one at --url or {credentials.URL}, by default {DEFAULT_URL}. Who asks: the user
of --user or {credentials.USER}, with the password or access token in the file that
{credentials.TOKEN_FILE} names, in {credentials.TOKEN}, or on standard input (--password-stdin);
else you are asked for it."""

_AGE: Final = re.compile(r"([0-9]{1,6})([smhdw])", re.ASCII)
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


class Remote:
    """A group of commands that speak to a registry."""

    def __init__(self, commands: Commands) -> None:
        """Add commands to ``commands``."""
        self._commands = commands

    def command(
        self, name: str, text: str, ask: Ask, *, epilog: str = "", **more: Any
    ) -> argparse.ArgumentParser:
        """Add a command, with the options that all of them have."""
        parser = self._commands.command(
            name, text, _runs(ask), epilog=(epilog + "\n" if epilog else "") + _CONNECTION, **more
        )
        add_connection(parser)
        return parser

    def group(self, name: str, text: str, **more: Any) -> "Remote":
        """Add a group of commands."""
        return Remote(self._commands.group(name, text, **more))


def add_connection(parser: argparse.ArgumentParser) -> None:
    """Add the options that say which registry is asked, by whom, and how to print."""
    group = parser.add_argument_group("registry and login")
    group.add_argument("--url", metavar="URL", help="address of the registry")
    group.add_argument("--user", metavar="NAME", help="who asks")
    group.add_argument(
        "--password-stdin", action="store_true", help="read the secret from standard input"
    )
    group.add_argument("--ca-file", metavar="FILE", help="PEM file of authorities to trust")
    group.add_argument(
        "--plain-http", action="store_true", help="send secrets without TLS to other machines too"
    )
    group.add_argument(
        "--timeout",
        type=float,
        default=30.0,
        metavar="SECONDS",
        help="how long to wait for each answer (default 30)",
    )
    group.add_argument("--json", action="store_true", help="print JSON")


def _runs(ask: Ask) -> Run:
    def run(options: argparse.Namespace) -> int:
        async def speak() -> None:
            async with client(options) as registry:
                await ask(registry, options)

        asyncio.run(speak())
        return 0

    return run


def client(options: argparse.Namespace) -> Client:
    """Make the client that the options and the environment describe."""
    if options.timeout <= 0:
        raise UsageError("--timeout is a number of seconds above 0")
    login = credentials.login(os.environ, options.user, password_stdin=options.password_stdin)
    return Client(
        options.url or os.environ.get(credentials.URL) or DEFAULT_URL,
        login,
        ca_file=options.ca_file or os.environ.get(credentials.CA_FILE, ""),
        seconds=options.timeout,
        plain_http=options.plain_http,
    )


def moment(text: str) -> str:
    """Read a time: ``30d`` from now, or RFC 3339; return it as RFC 3339. ``ArgumentTypeError``."""
    found = _AGE.fullmatch(text)
    if found is not None:
        return _rfc3339(time.time() + int(found[1]) * _SECONDS[found[2]])
    return _absolute(text)


def past(text: str) -> str:
    """As ``moment``, but ``2h`` is two hours ago."""
    found = _AGE.fullmatch(text)
    if found is not None:
        return _rfc3339(time.time() - int(found[1]) * _SECONDS[found[2]])
    return _absolute(text)


def _absolute(text: str) -> str:
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        when = None
    if when is None:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no time: write 30d, 12h, or 2027-01-31T00:00:00Z"
        )
    return _rfc3339(when.timestamp() if when.tzinfo else when.replace(tzinfo=UTC).timestamp())


def _rfc3339(seconds: float) -> str:
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
