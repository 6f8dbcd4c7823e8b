"""``moorage healthcheck``: ask a registry on this machine whether it is ready."""

# ruff: noqa: T201  printing is what a command does

import argparse
import http.client
import ssl
import sys
from typing import Final

from registry.cli.commands import Commands
from registry.cli.settings import add_files, add_settings, load
from registry.config import Address

_HEALTH: Final = """\
Ask the registry that the same configuration describes whether it is ready (GET /readyz), and exit
with 0 if it is and with 1 if not. For a container's health check:
  HEALTHCHECK CMD moorage healthcheck"""


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.command(
        "healthcheck",
        "ask a running registry whether it is ready",
        _healthcheck,
        description=_HEALTH,
    )
    add_files(parser)
    add_settings(parser, only=("--addr",))
    parser.add_argument(
        "--timeout", type=float, default=3.0, metavar="SECONDS", help="how long to wait (default 3)"
    )


def _healthcheck(options: argparse.Namespace) -> int:
    config = load(options)
    try:
        status, said = _ask(config.server.addr, bool(config.tls.certificate), options.timeout)
    except (OSError, http.client.HTTPException) as error:
        print(f"no answer from {config.server.addr}: {error}", file=sys.stderr)
        return 1
    if status != 200:
        print(f"not ready: {said.strip() or status}", file=sys.stderr)
        return 1
    return 0


def _ask(address: Address, tls: bool, seconds: float) -> tuple[int, str]:  # noqa: FBT001  one flag
    host, port = address.client_host(), address.port
    connection: http.client.HTTPConnection
    if tls:
        # It asks this very machine, under a name that the certificate need not have.
        context = ssl._create_unverified_context()  # noqa: S323, SLF001
        connection = http.client.HTTPSConnection(host, port, timeout=seconds, context=context)
    else:
        connection = http.client.HTTPConnection(host, port, timeout=seconds)
    try:
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        return answer.status, answer.read(1024).decode("utf-8", "replace")
    finally:
        connection.close()
