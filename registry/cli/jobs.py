"""Commands that work on a store themselves, beside the registries that serve it."""

# ruff: noqa: T201  printing is what a command does

import argparse
import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final

from registry.cli.errors import Failed
from registry.cli.settings import add_files, add_settings, load
from registry.config import Config, ConfigError

if TYPE_CHECKING:
    from registry.backend import Backend

_TELL: Final = 5.0
"""Seconds from one line of progress to the next."""

# Imports are not at the top: the commands that speak to a registry need none of this.


def add_store(parser: argparse.ArgumentParser) -> None:
    """Add the options that tell which store it is."""
    add_files(parser)
    add_settings(parser, only=("--data",))


def store_of(options: argparse.Namespace) -> Config:
    """Return the configuration; ``ConfigError`` where it names no store that others can open."""
    config = load(options)
    if config.storage.driver == "memory":
        raise ConfigError("what is in memory belongs to the process that has it")
    return config


def run(work: Callable[[], Coroutine[Any, Any, int]], *, busy: str = "") -> int:
    """Do ``work`` and return its exit code; ``Failed`` tells what kept it from being done.

    ``busy`` is what it tells where another process is at the same work.
    """
    from registry.service.failures import FAILURES  # noqa: PLC0415
    from storage.coordination import LeaseHeld  # noqa: PLC0415

    try:
        return asyncio.run(work())
    except LeaseHeld as error:
        raise Failed(busy or str(error)) from error
    except (*FAILURES, OSError) as error:
        raise Failed(str(error)) from error


def say(text: str) -> None:
    """Print a line for people, beside what a command prints for programs."""
    print(text, file=sys.stderr)


class Telling:
    """Says how far a command is, every five seconds."""

    def __init__(self, line: Callable[[Any], str]) -> None:
        """``line`` makes a line of what ``tell`` is given."""
        self._line = line
        self._next = time.monotonic() + _TELL

    def tell(self, progress: Any) -> None:
        """Say it, if it is time."""
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + _TELL
            say(self._line(progress))


@contextlib.asynccontextmanager
async def opened(config: Config, name: str, *, alone: str = "") -> AsyncIterator["Backend"]:
    """Open the store for the command of that name; what it does has a trace, if it is configured.

    ``Failed`` with what ``alone`` says where only the process that serves a store may change it,
    since the store does not judge between two writers.
    """
    from registry import backend  # noqa: PLC0415
    from registry.background import around  # noqa: PLC0415
    from registry.http.metrics import Metrics  # noqa: PLC0415
    from registry.tracing import traced  # noqa: PLC0415
    from registry.version import __version__  # noqa: PLC0415

    metrics = Metrics(version=__version__)
    async with (
        traced(config, metrics.traces) as tracing,
        backend.opened(config, metrics, tracing) as found,
    ):
        if alone and not found.conditional:
            raise Failed(f"this store does not judge between two writers: {alone}")
        with around(name):
            yield found
