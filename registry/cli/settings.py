"""Options that stand for settings, and the configuration that they lead to."""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from registry import config as configuration
from registry.config import Config, ConfigError


def add_files(parser: argparse.ArgumentParser) -> None:
    """Add the option that names configuration files."""
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


def add_settings(parser: argparse.ArgumentParser, only: Sequence[str] = ()) -> None:
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


def load(options: argparse.Namespace) -> Config:
    """Return what files, environment and options add up to; ``ConfigError``."""
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
    if config.auth.mode != "open":
        return
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
        "MOORAGE__SERVER__OPEN_TO_NETWORK=true)\n"
        '  With logins and projects: [auth] mode = "projects"'
    )
