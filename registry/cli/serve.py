"""``moorage serve`` and ``moorage config``: run the registry, or look at how it would run."""

# ruff: noqa: T201  printing is what a command does

import argparse
import json
import sys
from typing import Final

from registry import config as configuration
from registry import workers
from registry.cli.commands import Commands
from registry.cli.settings import add_files, add_settings, load, refuse_open_network
from registry.summary import coordination

_SERVE: Final = """\
Serve the registry until SIGTERM or Ctrl-C. Then running requests get server.drain_seconds to
finish; a second signal cuts that short. SIGHUP reads the TLS certificate and opens the log files
anew. GET /readyz answers 200 as soon as clients can be served, GET /healthz while the process
lives.

Settings come from the files (-c), in order, then from environment variables named
MOORAGE__SECTION__KEY, then from these options; a later one wins."""

_SERVE_EPILOG: Final = """\
examples:
  moorage serve --addr 127.0.0.1:5001 --data /var/lib/moorage --workers 2
  moorage serve --memory                        forget everything at the end: for tests
  moorage serve -c base.toml -c secrets.toml    two files; the second one wins
  MOORAGE__LOG__LEVEL=debug moorage serve       any setting, from the environment
  moorage serve --addr :5000 --open-to-network --tls-certificate c.pem --tls-key k.pem

Without logins (auth.mode = "open") other addresses than this machine's need --open-to-network."""

_CHECK: Final = """\
Read files, environment and options as serve does; print what they add up to as JSON, secrets as
stars, or what is wrong with them."""


def add(commands: Commands) -> None:
    """Add the command that serves the registry."""
    parser = commands.command(
        "serve", "serve the registry", _serve, description=_SERVE, epilog=_SERVE_EPILOG
    )
    add_files(parser)
    add_settings(parser)


def add_config(commands: Commands) -> None:
    """Add the commands that look at a configuration."""
    config = commands.group("config", "check or describe the configuration")
    check = config.command(
        "check",
        "say whether the configuration is good, and show what it adds up to",
        _check,
        description=_CHECK,
    )
    add_files(check)
    add_settings(check)
    config.command(
        "schema",
        "print the JSON Schema of a configuration file",
        _schema,
        description="Print the JSON Schema of a configuration file, for editors and for checks.",
    )


def _serve(options: argparse.Namespace) -> int:
    config = load(options)
    refuse_open_network(config)
    return workers.run(config)


def _check(options: argparse.Namespace) -> int:
    config = load(options)
    refuse_open_network(config)
    print(json.dumps(configuration.show(config), indent=2))
    print(f"coordination between processes: {coordination(config)}", file=sys.stderr)
    return 0


def _schema(_options: argparse.Namespace) -> int:
    print(json.dumps(configuration.schema(), indent=2))
    return 0
