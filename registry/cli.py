"""The command line."""

# ruff: noqa: T201  printing is what a command does

import argparse
import http.client
import json
import os
import ssl
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from registry import config as configuration
from registry import workers
from registry.config import Address, Config, ConfigError
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

There is no login yet, so other addresses than those of this machine need --open-to-network."""

_HEALTH: Final = """\
Ask the registry that the same configuration describes whether it is ready (GET /readyz), and exit
with 0 if it is and with 1 if not. For a container's health check:
  HEALTHCHECK CMD moorage healthcheck"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that ``arguments`` name, by default the process's; return its exit code."""
    options = _parser().parse_args(arguments)
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


def _parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="moorage",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=raw,
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def command(name: str, text: str, run: Any, **more: Any) -> argparse.ArgumentParser:
        made = commands.add_parser(
            name,
            help=text,
            formatter_class=raw,
            allow_abbrev=False,
            **({"description": text[0].upper() + text[1:] + "."} | more),
        )
        made.set_defaults(run=run)
        return made

    serve = command("serve", "serve the registry", _serve, description=_SERVE, epilog=_SERVE_EPILOG)
    _add_files(serve)
    _add_settings(serve)
    config = command("config", "check or describe the configuration", None)
    parts = config.add_subparsers(title="commands", metavar="COMMAND", required=True)
    check = parts.add_parser(
        "check",
        help="say whether the configuration is good, and show what it adds up to",
        description="Read files, environment and options as serve does; print what they add up to "
        "as JSON, secrets as stars, or what is wrong with them.",
        allow_abbrev=False,
    )
    _add_files(check)
    _add_settings(check)
    check.set_defaults(run=_config_check)
    schema = parts.add_parser(
        "schema",
        help="print the JSON Schema of a configuration file",
        allow_abbrev=False,
        description="Print the JSON Schema of a configuration file, for editors and for checks.",
    )
    schema.set_defaults(run=_config_schema)
    health = command(
        "healthcheck",
        "ask a running registry whether it is ready",
        _healthcheck,
        description=_HEALTH,
    )
    _add_files(health)
    _add_settings(health, only=("--addr",))
    health.add_argument(
        "--timeout", type=float, default=3.0, metavar="SECONDS", help="how long to wait (default 3)"
    )
    command("version", "print the version", _version)
    return parser


def _add_files(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-c",
        "--config",
        dest="files",
        action="append",
        type=Path,
        default=[],
        metavar="FILE",
        help="a TOML file with settings; may be given several times, a later one wins",
    )


def _add_settings(parser: argparse.ArgumentParser, only: Sequence[str] = ()) -> None:
    """Add the options that stand for settings; ``dest`` is the setting's name."""

    def add(flag: str, dest: str, text: str, **more: Any) -> None:
        if not only or flag in only:
            parser.add_argument(flag, dest=dest, default=None, help=text, **more)

    add("--addr", "server.addr", "address of the API (default 127.0.0.1:5000)", metavar="HOST:PORT")
    add("--data", "storage.path", "directory of the content (default .data)", metavar="DIR")
    add(
        "--memory",
        "storage.driver",
        "keep content in memory, forget it at the end",
        action="store_const",
        const="memory",
    )
    add(
        "--workers",
        "server.workers",
        "processes that serve, one for each core (default 1)",
        type=int,
        metavar="N",
    )
    add(
        "--metrics-addr",
        "metrics.addr",
        "address of Prometheus metrics (default: none)",
        metavar="HOST:PORT",
    )
    add(
        "--open-to-network",
        "server.open_to_network",
        "serve without login where other machines can reach it",
        action="store_true",
    )
    add("--tls-certificate", "tls.certificate", "serve HTTPS with this PEM file", metavar="FILE")
    add("--tls-key", "tls.key", "private key of the certificate, a PEM file", metavar="FILE")
    add("--loop", "server.loop", "event loop (default uvloop)", choices=["asyncio", "uvloop"])
    add(
        "--log-format",
        "log.format",
        "json, text, or auto: text on a terminal (default)",
        choices=["auto", "json", "text"],
    )
    add(
        "--log-level",
        "log.level",
        "least severe event that is logged (default info)",
        choices=["debug", "info", "warning", "error"],
    )


def _load(options: argparse.Namespace) -> Config:
    flags = {
        name: value for name, value in vars(options).items() if "." in name and value is not None
    }
    if "storage.path" in flags and "storage.driver" in flags:
        raise ConfigError("--data and --memory exclude each other: content is kept or it is not")
    if "storage.path" in flags:
        flags["storage.driver"] = "filesystem"
    return configuration.load(options.files, os.environ, flags)


def refuse_open_network(config: Config) -> None:
    """Refuse to serve without login where others could reach it, unless that was asked for.

    ``ConfigError`` says how to ask, and what else can be done.
    """
    server = config.server
    try:
        safe = server.open_to_network or server.addr.is_loopback()
    except OSError as error:
        raise ConfigError(f"the host of {server.addr} can't be found: {error.strerror}") from error
    if safe:
        return
    raise ConfigError(
        f"refusing to serve on {server.addr}: other machines can reach this address, and there is "
        "no login, so that anyone there could push, pull and delete.\n"
        f"  For this machine only:   moorage serve --addr 127.0.0.1:{server.addr.port}\n"
        f"  For the network, really: moorage serve --addr {server.addr} --open-to-network\n"
        "  (in a file: [server] open_to_network = true; in the environment: "
        "MOORAGE__SERVER__OPEN_TO_NETWORK=true)"
    )


def _serve(options: argparse.Namespace) -> int:
    config = _load(options)
    refuse_open_network(config)
    return workers.run(config)


def _config_check(options: argparse.Namespace) -> int:
    config = _load(options)
    refuse_open_network(config)
    print(json.dumps(configuration.show(config), indent=2))
    return 0


def _config_schema(_options: argparse.Namespace) -> int:
    print(json.dumps(configuration.schema(), indent=2))
    return 0


def _version(_options: argparse.Namespace) -> int:
    print(f"moorage {__version__}")
    return 0


def _healthcheck(options: argparse.Namespace) -> int:
    config = _load(options)
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
