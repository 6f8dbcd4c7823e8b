"""The command line."""

# ruff: noqa: T201  printing is what a command does

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Final

from registry.cli import audit, backup, gc, health, imports, quota, scrub, serve, tokens
from registry.cli.commands import Commands, parser
from registry.cli.errors import Failed, UsageError
from registry.cli.remote import (
    accounts,
    collection,
    content,
    environments,
    platform,
    projects,
    pull_secrets,
    pulls,
    retention,
    robots,
    rules,
    webhooks,
)
from registry.cli.remote.speaking import Remote
from registry.config import ConfigError
from registry.sockets import CannotStart
from registry.supervisor import CANNOT_START, FAILED
from registry.version import __version__

USAGE: Final = 2
"""The exit code where the command line or the configuration is wrong."""

INTERRUPTED: Final = 130
"""The exit code after Ctrl-C, as shells have it."""

_CODES: Final[Mapping[type[Exception], int]] = {
    ConfigError: USAGE,
    UsageError: USAGE,
    Failed: FAILED,
    CannotStart: CANNOT_START,
}
"""What ends a command with a message, and with which exit code."""

_DESCRIPTION: Final = """\
Moorage is a container registry: docker, podman, containerd, skopeo, crane, oras and regctl push
images and artifacts to it and pull them from it (OCI Distribution Specification)."""

_EPILOG: Final = """\
start:
  moorage serve                     serve on 127.0.0.1:5000, content in ./.data
  docker tag alpine 127.0.0.1:5000/alpine && docker push 127.0.0.1:5000/alpine

run it (MOORAGE_URL, MOORAGE_USER and MOORAGE_TOKEN_FILE say where, who, and how):
  moorage project create demo       a project; then its members and robot accounts:
  moorage member add demo user:bob developer
  moorage robot create demo ci --expires 90d

exit codes:
  0  done     1  failed     2  wrong command line or configuration     3  can't start

Every command has its own help: moorage serve --help. All settings are described in
docs/reference/configuration.md, the commands in docs/reference/command-line.md."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that ``arguments`` name, by default the process's; return its exit code."""
    options = command_line().parse_args(arguments)
    try:
        result: int = options.run(options)
    except KeyboardInterrupt:
        return INTERRUPTED
    except tuple(_CODES) as error:
        print(f"moorage: {error}", file=sys.stderr)
        return _CODES[type(error)]
    except BrokenPipeError:  # the reader of our output has gone, and needs no more
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0
    return result


def command_line() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    made = parser("moorage", _DESCRIPTION, _EPILOG)
    commands = Commands(made)
    serve.add(commands)
    serve.add_config(commands)
    tokens.add(commands)
    gc.add(commands)
    scrub.add(commands)
    backup.add(commands)
    imports.add(commands)
    health.add(commands)
    remote = Remote(commands)
    projects.add(remote)
    robots.add(remote)
    pull_secrets.add(remote)
    webhooks.add(remote)
    accounts.add(remote)
    content.add(remote)
    collection.add(remote)
    rules.add(remote)
    quota.add(commands)
    pulls.add(remote)
    environments.add(remote)
    platform.add(remote)
    retention.add(remote)
    audit.add(commands)
    commands.command("version", "print the version", _version)
    return made


def _version(_options: argparse.Namespace) -> int:
    print(f"moorage {__version__}")
    return 0
