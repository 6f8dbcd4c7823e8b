"""Keeping several workers running.

The supervisor opens the sockets and starts the workers by ``fork``. It imports neither aiohttp nor
a store, runs no thread, and holds no request: there is little in it that could fail. Workers are
told by the kernel when it dies, and drain.

All workers accept from the same sockets (``registry.shares`` says how they share the connections),
and the supervisor keeps these open: what waits there is served by whichever worker is left, or by
the next one.
"""

import contextlib
import ctypes
import logging
import os
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn

import msgspec

from registry.config import Config
from registry.logs import LineHandler, Sink, configure, text_wanted
from registry.shares import Shares
from registry.sockets import close_all

_log = logging.getLogger("moorage.workers")

OK: Final = 0
FAILED: Final = 1
CANNOT_START: Final = 3
"""A process ends with it after saying why it can't start: trying again at once would not help."""

_START_SECONDS: Final = 60.0
_HEALTHY_SECONDS: Final = 30.0
_LONGEST_PAUSE: Final = 30.0
_FAILED_STARTS: Final = 5
_SPARE_SECONDS: Final = 10.0
_PR_SET_PDEATHSIG: Final = 1
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)


@dataclass(slots=True)
class Worker:
    """One worker process, from the supervisor's side."""

    number: int
    pid: int = 0
    ready: int = -1
    """The end of a pipe that says when the worker serves, -1 when it has."""

    serving: bool = False
    started: float = 0.0
    due: float = 0.0
    """When to start it, where it does not run."""

    failures: int = 0
    """Starts in a row after which it never served."""

    pause: float = 0.0
    """How long to wait before the next start, in seconds."""


Serve = Callable[[Worker, Callable[[], None]], int]
"""Serves as a worker, calls back when clients can be served, and returns the exit code."""


class Supervisor:
    """Keeps the workers running, and passes on what it is told."""

    def __init__(
        self,
        config: Config,
        serve: Serve,
        *,
        sockets: list[socket.socket],
        shares: Shares,
        told: Callable[[], None],
        log_lock: int,
        metrics_directory: Path | None,
    ) -> None:
        """Have workers run ``serve``; ``told`` is called once all serve.

        Of a worker that has ended ``shares`` is told.
        """
        self._config = config
        self._sockets = sockets
        self._shares = shares
        self._serve = serve
        self._told: Callable[[], None] | None = told
        self._metrics_directory = metrics_directory
        self._workers = [Worker(number) for number in range(config.server.workers)]
        self._selector = selectors.DefaultSelector()
        self._restarts = 0
        self._stopping = 0.0
        self._result = OK
        self._sink = Sink(config.log.file, log_lock)
        waits = config.storage.s3.wait_seconds if config.storage.driver == "s3" else 0.0
        self._start_seconds = _START_SECONDS + waits

    def run(self) -> int:
        """Serve until told to stop; return the exit code."""
        configure(
            LineHandler(self._sink.write, text=text_wanted(self._config.log, self._sink)),
            self._config.log.level,
        )
        reading, writing = socket.socketpair()
        with reading, writing, self._selector:
            reading.setblocking(False)  # noqa: FBT003  the socket module's own signature
            writing.setblocking(False)  # noqa: FBT003
            signal.set_wakeup_fd(writing.fileno(), warn_on_full_buffer=False)
            for number in _SIGNALS:
                signal.signal(number, lambda *_: None)
            self._selector.register(reading, selectors.EVENT_READ)
            try:
                self._watch(reading)
            finally:
                signal.set_wakeup_fd(-1)
                self._signal(signal.SIGKILL)
        return self._result

    def _watch(self, signals: socket.socket) -> None:
        while not self._stopping or any(worker.pid for worker in self._workers):
            self._start_due()
            for key, _ in self._selector.select(self._pause()):
                if key.fileobj is signals:
                    self._take_signals(signals.recv(4096))
                else:
                    self._note_ready(key.data)
            self._reap()
            self._kill_late()
            self._write_metrics()

    def _pause(self) -> float:
        now = time.monotonic()
        waits = [w.due - now for w in self._workers if not w.pid and not self._stopping]
        return max(0.0, min([1.0, *waits]))

    def _start_due(self) -> None:
        now = time.monotonic()
        for worker in self._workers:
            if not worker.pid and not self._stopping and worker.due <= now:
                self._start(worker)

    def _start(self, worker: Worker) -> None:
        ready, done = os.pipe()
        parent = os.getpid()
        # A signal that comes before the child can take it waits until it can.
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        pid = os.fork()
        if pid == 0:
            os.close(ready)
            self._become(worker, parent, done)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        os.close(done)
        worker.pid, worker.ready, worker.serving = pid, ready, False
        worker.started = time.monotonic()
        self._selector.register(ready, selectors.EVENT_READ, worker)

    def _become(self, worker: Worker, parent: int, done: int) -> NoReturn:
        """Be the worker, in the child. Never returns into the supervisor's code."""
        code = FAILED
        try:
            _die_with(parent)
            self._selector.close()
            signal.set_wakeup_fd(-1)
            # Ctrl-C reaches all processes of a terminal; what it means, the supervisor says.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            # Told of a new log file, it hears of it when it can: it may have opened the old one.
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {*_SIGNALS} - {signal.SIGHUP})
            for other in self._workers:
                if other.ready >= 0:
                    os.close(other.ready)

            def ready() -> None:
                os.write(done, b"r")
                os.close(done)

            code = self._serve(worker, ready)
        except BaseException:  # noqa: BLE001  it is logged, and the process ends
            _log.exception("worker %d failed", worker.number)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _note_ready(self, worker: Worker) -> None:
        said = os.read(worker.ready, 1)
        self._forget_pipe(worker)
        if said:
            worker.serving, worker.failures = True, 0
            if self._told and all(each.serving for each in self._workers):
                self._told()
                self._told = None

    def _forget_pipe(self, worker: Worker) -> None:
        if worker.ready >= 0:
            self._selector.unregister(worker.ready)
            os.close(worker.ready)
            worker.ready = -1

    def _take_signals(self, numbers: bytes) -> None:
        for number in numbers:
            if number == signal.SIGHUP:
                with contextlib.suppress(OSError):
                    self._sink.reopen()
                self._signal(signal.SIGHUP)
            elif number in (signal.SIGTERM, signal.SIGINT):
                self._stop()

    def _stop(self) -> None:
        """Let the workers drain. Told a second time, they hurry."""
        server = self._config.server
        if not self._stopping:
            self._stopping = (
                time.monotonic()
                + server.drain_delay_seconds
                + server.drain_seconds
                + _SPARE_SECONDS
            )
            close_all(self._sockets)  # those of the workers are the last ones; they close them
        self._signal(signal.SIGTERM)

    def _signal(self, number: int) -> None:
        for worker in self._workers:
            if worker.pid:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(worker.pid, number)

    def _kill_late(self) -> None:
        now = time.monotonic()
        if self._stopping and now > self._stopping:
            _log.error("workers did not end in time: killed")
            self._result = FAILED
            self._stopping = now + _SPARE_SECONDS
            self._signal(signal.SIGKILL)
        for worker in self._workers:
            if worker.ready >= 0 and now > worker.started + self._start_seconds:
                _log.error("worker %d did not start in time: killed", worker.number)
                os.kill(worker.pid, signal.SIGKILL)
                worker.started = now

    def _reap(self) -> None:
        for worker in self._workers:
            if worker.pid:
                pid, status = os.waitpid(worker.pid, os.WNOHANG)
                if pid:
                    if worker.ready >= 0:  # what it said last may not have been read
                        self._note_ready(worker)
                    worker.pid = 0
                    self._shares.note(worker.number, 0)
                    self._ended(worker, os.waitstatus_to_exitcode(status))

    def _ended(self, worker: Worker, code: int) -> None:
        if self._stopping:
            # A worker that was told to stop before it could serve had nothing to drain.
            if code != OK and not (code == -signal.SIGTERM and not worker.serving):
                self._result = self._result or FAILED
            return
        lived = time.monotonic() - worker.started
        if not worker.serving:
            worker.failures += 1
        if code == CANNOT_START or worker.failures >= _FAILED_STARTS:
            _log.critical("worker %d can't start (%s): giving up", worker.number, _said(code))
            self._result = code if code == CANNOT_START else FAILED
            self._stop()
            return
        if worker.serving and lived > _HEALTHY_SECONDS:
            worker.pause = 0.0
        worker.due = time.monotonic() + worker.pause
        _log.error(
            "worker %d ended (%s) after %.0f s: starting it anew in %.1f s",
            worker.number,
            _said(code),
            lived,
            worker.pause,
        )
        worker.pause = min(_LONGEST_PAUSE, worker.pause * 2 or 0.5)
        self._restarts += 1

    def _write_metrics(self) -> None:
        """Write the supervisor's own file in the form of ``registry.http.scrape``."""
        directory = self._metrics_directory
        if directory is None:
            return
        serving = sum(worker.serving and worker.pid > 0 for worker in self._workers)
        families: list[Any] = [
            (name, text, kind, [(name + ("_total" if kind == "counter" else ""), {}, value)])
            for (name, text, kind), value in zip(
                FAMILIES,
                (float(self._restarts), float(len(self._workers)), float(serving)),
                strict=True,
            )
        ]
        fresh = directory / "supervisor.new"
        with contextlib.suppress(OSError):
            fresh.write_bytes(msgspec.msgpack.encode(families))
            fresh.replace(directory / f"{os.getpid()}-0.metrics")


FAMILIES: Final = (
    ("moorage_worker_restarts", "Workers that died and were started anew.", "counter"),
    ("moorage_workers", "Workers that should run.", "gauge"),
    ("moorage_workers_serving", "Workers that serve.", "gauge"),
)
"""The supervisor's own metrics: name, help, type."""


def _said(code: int) -> str:
    if code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return f"exit code {code}"


def _die_with(parent: int) -> None:
    """Have the kernel end this process when ``parent`` does: no port stays taken by orphans."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(FAILED)
