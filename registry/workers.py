"""The processes that serve one address: this one alone, or a supervisor with workers."""

import contextlib
import logging
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import msgspec

from registry.config import Config
from registry.logs import Sink, shared_lock, text_wanted
from registry.shares import Shares
from registry.sockets import close_all, listen, open_sockets
from registry.summary import summary, token_summary
from registry.supervisor import Supervisor, Worker


@dataclass(slots=True)
class Resources:
    """What all processes of one registry share, and what is removed at the end."""

    sockets: list[socket.socket]
    metrics: list[socket.socket]
    shares: Shares | None = None
    log_lock: int | None = None
    metrics_directory: Path | None = None
    tokens_only: bool = False


def run(config: Config, *, tokens_only: bool = False) -> int:
    """Serve until a signal says to stop, and return the exit code.

    ``tokens_only``: serve the token service alone.
    """
    sockets = open_sockets(config.server.addr)
    address = config.server.addr.with_port(sockets[0].getsockname()[1])
    told = token_summary(config, address) if tokens_only else summary(config, address)
    with contextlib.ExitStack() as stack:
        stack.callback(close_all, sockets)
        metrics = open_sockets(config.metrics.addr) if config.metrics.addr else []
        stack.callback(close_all, metrics)
        shared = Resources(sockets, metrics, tokens_only=tokens_only)
        if config.server.workers == 1:
            return _serve(config, shared, Worker(0), partial(_tell, config, told))
        shared.shares = Shares(config.server.workers)
        # from the first moment: connections wait for whoever serves first
        listen(sockets, config.server.addr, config.server.backlog)
        shared.log_lock = shared_lock()
        if config.metrics.addr:
            shared.metrics_directory = Path(
                stack.enter_context(tempfile.TemporaryDirectory(prefix="moorage-metrics-"))
            )
        if config.storage.driver == "memory":
            config = stack.enter_context(_memory_directory(config))
        return Supervisor(
            config,
            partial(_serve, config, shared),
            sockets=sockets,
            shares=shared.shares,
            told=partial(_tell, config, told),
            log_lock=shared.log_lock,
            metrics_directory=shared.metrics_directory,
        ).run()


def _serve(config: Config, shared: Resources, worker: Worker, ready: Callable[[], None]) -> int:
    # Not at the top: the supervisor must stay small, and have no thread when it forks.
    from registry import app  # noqa: PLC0415

    return app.main(
        config,
        app.Process(
            number=worker.number,
            supervised=config.server.workers > 1,
            sockets=shared.sockets,
            shares=shared.shares,
            metrics=shared.metrics,
            log_lock=shared.log_lock,
            metrics_directory=shared.metrics_directory,
            tokens_only=shared.tokens_only,
            ready=ready,
        ),
    )


def _tell(config: Config, told: str) -> None:
    """Say what is served: as it stands to a person, as one event to a machine."""
    if not told:
        return
    if text_wanted(config.log, Sink(config.log.file)):
        sys.stderr.write(told)
        sys.stderr.flush()
    else:
        logging.getLogger("moorage").info(told.partition("\n")[0])


@contextlib.contextmanager
def _memory_directory(config: Config) -> Iterator[Config]:
    """Keep the memory store of several processes in files that are memory, as long as they run."""
    base = Path("/dev/shm")  # noqa: S108  private by mkdtemp, and by its owner
    for left in base.glob("moorage-*"):
        pid = left.name.split("-")[1]
        if pid.isdigit() and left.stat().st_uid == os.getuid() and not _alive(int(pid)):
            shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=f"moorage-{os.getpid()}-", dir=base) as path:
        storage = msgspec.structs.replace(config.storage, driver="filesystem", path=path)
        yield msgspec.structs.replace(config, storage=storage)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
