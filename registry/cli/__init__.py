"""The command line."""

# ruff: noqa: T201  printing is what a command does

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Final

from registry.cli import health, serve, tokens
from registry.cli.commands import Commands, parser
from registry.config import ConfigError
from registry.sockets import CannotStart
from registry.supervisor import CANNOT_START
from registry.version import __version__

USAGE: Final = 2
"""The exit code where the command line or the configuration is wrong."""

_DESCRIPTION: Final = """\
Moorage is a container registry: docker, podman, containerd, skopeo, crane, oras and regctl push
images and artifacts to it and pull them from it (OCI Distribution Specification)."""

_EPILOG: Final = """\
start:
  moorage serve                     serve on 127.0.0.1:5000, content in ./.data
  docker tag alpine 127.0.0.1:5000/alpine && docker push 127.0.0.1:5000/alpine

exit codes:
  0  done     1  failed     2  wrong command line or configuration     3  can't start

Every command has its own help: moorage serve --help. All settings are described in
docs/reference/configuration.md, the commands in docs/reference/command-line.md."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that ``arguments`` name, by default the process's; return its exit code."""
    options = command_line().parse_args(arguments)
    try:
        result: int = options.run(options)
    except ConfigError as error:
        print(f"moorage: {error}", file=sys.stderr)
        return USAGE
    except CannotStart as error:
        print(f"moorage: {error}", file=sys.stderr)
        return CANNOT_START
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
    health.add(commands)
    commands.command("version", "print the version", _version)
    return made


def _version(_options: argparse.Namespace) -> int:
    print(f"moorage {__version__}")
    return 0
