"""``moorage token-service`` and ``moorage keys``: tokens without a registry, and their keys."""

# ruff: noqa: T201  printing is what a command does

import argparse
import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

from registry import workers
from registry.cli.commands import Commands
from registry.cli.settings import add_files, add_settings, load
from registry.config import Config, ConfigError

if TYPE_CHECKING:
    from auth.keyring import KeptKeys

    _Change = Callable[[KeptKeys], Awaitable[tuple[str, str]]]
    """Does it; returns what to print, and what the audit log is told: a number."""

_SERVICE: Final = """\
Serve the token service alone: /token, /token/revoke and /.well-known/jwks.json. It reads the same
configuration as the registry, and the same store, where accounts, projects and signing keys are.
The registry is told of it by auth.token.realm, and needs nothing of it to verify tokens."""

_ROTATE: Final = """\
Make a new signing key now. It is published for ten minutes before it signs, and the old one
verifies for eight days after: nobody has to log in again."""

_REVOKE: Final = """\
Remove all signing keys. Within auth.token.reload_seconds every token that was issued is worthless;
clients get new ones by themselves, with what they logged in with. For a key that has leaked."""


def add(commands: Commands) -> None:
    """Add the commands."""
    service = commands.command(
        "token-service", "serve the token service alone", _service, description=_SERVICE
    )
    add_files(service)
    add_settings(service)
    keys = commands.group("keys", "change the keys that tokens are signed with")
    for name, text, run, description in (
        ("rotate", "make a new signing key", _rotate, _ROTATE),
        ("revoke", "remove all signing keys, and with them all tokens", _revoke, _REVOKE),
    ):
        parser = keys.command(name, text, run, description=description)
        add_files(parser)
        add_settings(parser, only=("--data",))


def _service(options: argparse.Namespace) -> int:
    config = load(options)
    _check(config)
    return workers.run(config, tokens_only=True)


def _check(config: Config) -> None:
    if config.auth.mode == "open":
        raise ConfigError(
            'there are no tokens where nobody is asked to log in: set [auth] mode = "projects"'
        )


def _rotate(options: argparse.Namespace) -> int:
    async def rotate(keys: "KeptKeys") -> tuple[str, str]:
        number = await keys.rotate()
        return f"made the signing key {number}; it signs in ten minutes", str(number)

    return _with_keys(options, "keys.rotated", rotate)


def _revoke(options: argparse.Namespace) -> int:
    async def revoke(keys: "KeptKeys") -> tuple[str, str]:
        count = await keys.revoke()
        return f"removed {count} signing keys", str(count)

    return _with_keys(options, "keys.revoked", revoke)


def _with_keys(options: argparse.Namespace, action: str, change: "_Change") -> int:
    config = load(options)
    _check(config)
    if config.auth.token.keys:
        raise ConfigError("the signing keys are the files of auth.token.keys: change those")
    if config.storage.driver == "memory":
        raise ConfigError("keys in memory belong to the process that has them: restart it")
    try:
        print(asyncio.run(_change(config, action, change)))
    except _failures() as error:
        print(f"moorage: {error}", file=sys.stderr)
        return 1
    return 0


async def _change(config: Config, action: str, change: "_Change") -> str:
    # Not at the top: the other commands need none of it.
    from registry.backend import opened  # noqa: PLC0415
    from registry.http.metrics import Metrics  # noqa: PLC0415
    from registry.logins import kept_keys  # noqa: PLC0415
    from registry.service.audit.events import COMMAND, AuditEvent  # noqa: PLC0415
    from registry.telling import audited_command  # noqa: PLC0415
    from registry.version import __version__  # noqa: PLC0415

    async with (
        opened(config, Metrics(version=__version__)) as backend,
        audited_command(config, backend) as journal,
    ):
        done, subject = await change(kept_keys(config.auth.token, backend.store))
        if journal is not None:
            journal.record(AuditEvent.of(time.time(), action, COMMAND, subject=subject))
        return done


def _failures() -> tuple[type[Exception], ...]:
    from auth.keyring import KeysUnavailable  # noqa: PLC0415
    from storage.coordination import CoordinationUnavailable  # noqa: PLC0415
    from storage.ports import StorageError  # noqa: PLC0415

    return KeysUnavailable, StorageError, CoordinationUnavailable, OSError
