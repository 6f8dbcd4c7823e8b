"""The composition root: with ``backend``, all that names concrete classes; and runs them."""

import asyncio
import contextlib
import gc
import logging
import resource
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from auth.authenticators.htpasswd import HtpasswdError
from auth.keyring import KeysUnavailable
from auth.keys import KeyUnusable
from registry.accounting import accounting
from registry.auditing import audited, lines_wanted
from registry.backend import Backend, opened
from registry.background import beside, repeated
from registry.backing import backing
from registry.collecting import collecting, history_of, terms_of
from registry.config import Config
from registry.http.accesslog import AccessLog
from registry.http.api import RegistryApi
from registry.http.call import Server
from registry.http.endpoint import Endpoint, Room
from registry.http.health import Health
from registry.http.limits import Limits
from registry.http.listener import Listener
from registry.http.metrics import Metrics
from registry.http.scrape import MetricsServer
from registry.http.tls import Certificate, TLSError
from registry.logs import LineHandler, Sink, Writer, configure, text_wanted
from registry.pulling import pulling
from registry.rates import limiting
from registry.retaining import retaining
from registry.scrubbing import scrubbing
from registry.service.services import Services
from registry.service.uploads import Uploads
from registry.shares import Shares
from registry.sockets import CannotStart, listen
from registry.spec.tagrules import TagRules
from registry.supervisor import CANNOT_START, FAILED, OK
from registry.telling import telling
from registry.tenants import admitted
from registry.tracing import traced
from registry.version import __version__
from registry.watching import (
    RequestObserver,
    audit_counts,
    watch_caches,
    watch_pools,
    watch_tenancy,
)
from storage.coordination import CoordinationUnavailable
from storage.ports import StorageError

if TYPE_CHECKING:
    from registry.tracing.opening import Tracing

_log = logging.getLogger("moorage")

_SPARE_FILES = 128
_HOUR = 3600.0


_CANNOT = (
    CannotStart,
    TLSError,
    StorageError,
    CoordinationUnavailable,
    HtpasswdError,
    KeysUnavailable,
    KeyUnusable,
    OSError,
)
"""What the configuration or the surroundings are to blame for when a process can't start."""


@dataclass(frozen=True, slots=True)
class Process:
    """Which process this is, and what it was given by the one that started it."""

    sockets: list[socket.socket]
    metrics: list[socket.socket] = field(default_factory=list)
    number: int = 0
    supervised: bool = False
    shares: Shares | None = None
    log_lock: int | None = None
    metrics_directory: Path | None = None
    tokens_only: bool = False
    ready: Callable[[], None] = lambda: None


def main(config: Config, process: Process) -> int:
    """Serve in this process until a signal says to stop; return the exit code."""
    _raise_file_limit(config)
    sink = Sink(config.log.file, process.log_lock)
    text = text_wanted(config.log, sink)
    events: Writer[bytes] = Writer(sink, b"".join)
    lines = LineHandler(events.put, text=text)
    configure(lines, config.log.level)
    try:
        with asyncio.Runner(loop_factory=_loop_factory(config)) as runner:
            return runner.run(_serve(config, process, sink, events, lines, text=text))
    except _CANNOT as error:
        _log.critical("can't start: %s", error)
        return CANNOT_START
    except (Exception, asyncio.CancelledError):  # noqa: BLE001  logged, and told by the exit code
        _log.critical("the server failed", exc_info=True)
        return FAILED
    finally:
        events.close()
        configure(LineHandler(sink.write, text=text), config.log.level)


def _loop_factory(config: Config) -> Callable[[], asyncio.AbstractEventLoop] | None:
    if config.server.loop == "uvloop":
        import uvloop  # noqa: PLC0415  only where it is asked for

        return uvloop.new_event_loop
    return None


def _raise_file_limit(config: Config) -> None:
    """Take as many file descriptors as this user may have: each connection and pull needs one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    if soft != resource.RLIM_INFINITY and soft < config.server.max_connections + _SPARE_FILES:
        _log.warning(
            "only %d files may be open at once (ulimit -n), fewer than server.max_connections "
            "= %d: raise the one or lower the other",
            soft,
            config.server.max_connections,
        )


async def _serve(
    config: Config,
    process: Process,
    sink: Sink,
    events: Writer[bytes],
    lines: LineHandler,
    *,
    text: bool,
) -> int:
    metrics = Metrics(version=__version__, worker=process.number)
    metrics.watch_dropped("events", lambda: events.dropped)
    access_sink = Sink(config.log.access_file, process.log_lock) if config.log.access_file else sink
    access = AccessLog(access_sink, text=text) if config.log.access else None
    if access is not None:
        metrics.watch_dropped("access", lambda: access.dropped)
    audit_sink = Sink(config.audit.file, process.log_lock, fd=1)
    audit: Writer[bytes] | None = None
    if lines_wanted(config, terminal=audit_sink.isatty()):
        audit = Writer(audit_sink, b"".join)
        metrics.watch_dropped("audit", partial(getattr, audit, "dropped"))
    try:
        certificate = (
            Certificate(config.tls, metrics.tls_reloaded) if config.tls.certificate else None
        )
        signals = _Signals(process, [sink, access_sink, audit_sink], certificate)
        async with (
            traced(config, metrics.traces, process.number) as tracing,
            opened(config, metrics, tracing, patient=True) as backend,
        ):
            if tracing is not None:
                lines.during = tracing.current
            watch_pools(metrics, tracing)
            await _run(
                config,
                process,
                backend,
                RequestObserver(metrics, access),
                certificate,
                signals,
                audit.put if audit is not None else None,
                tracing,
            )
    except asyncio.CancelledError:
        if not signals.ended_the_start:
            raise
        _log.info("told to stop before it served")
    finally:
        if audit is not None:
            audit.close()
        if access is not None:
            access.close()
    return OK


class _Signals:
    """What this process is told from outside."""

    def __init__(
        self, process: Process, sinks: list[Sink], certificate: Certificate | None
    ) -> None:
        self.stop = asyncio.Event()
        self.hurry = asyncio.Event()
        self._sinks = sinks
        self._certificate = certificate
        self._starting = asyncio.current_task()
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._stop)
        loop.add_signal_handler(signal.SIGHUP, self._reload)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})  # the supervisor had it wait
        if not process.supervised:
            loop.add_signal_handler(signal.SIGINT, self._stop)

    def serving(self) -> None:
        """Drain when told to stop, from now on: before, there is nothing that could be drained."""
        self._starting = None

    @property
    def ended_the_start(self) -> bool:
        """Whether the process was told to stop while there was nothing to drain yet."""
        return self.stop.is_set() and self._starting is not None

    def _stop(self) -> None:
        if self.stop.is_set():
            self.hurry.set()
        self.stop.set()
        if self._starting is not None:
            self._starting.cancel()

    def _reload(self) -> None:
        for sink in self._sinks:
            try:
                sink.reopen()
            except OSError as error:
                _log.error("the log file can't be opened anew, the old one still is: %s", error)
        if self._certificate is not None:
            self._certificate.reload()


async def _run(
    config: Config,
    process: Process,
    backend: Backend,
    observer: RequestObserver,
    certificate: Certificate | None,
    signals: _Signals,
    lines: Callable[[bytes], object] | None,
    tracing: "Tracing | None",
) -> None:
    given = msgspec.structs.asdict(config.limits)
    allow_sparse = given.pop("allow_sparse")
    limits = Limits(**given)
    services = Services.over(
        backend.store,
        backend.coordinator,
        files=backend.files,
        memory=config.cache.bytes,
        allow_sparse=allow_sparse,
        redirects=backend.redirects,
        exact=backend.exact,
        terms=terms_of(config),
        rules=TagRules(config.tags.immutable, config.tags.immutable_except),
        projects=config.auth.mode != "open",
        history=history_of(config),
    )
    watch_caches(observer.metrics, services)
    observer.metrics.quota.watch(services.quotas)
    health = Health(backend.store)
    first = process.number == 0 and not process.tokens_only
    async with (
        limiting(config) as limited,
        audited(config, backend.store, lines) as journal,
        admitted(config, backend, services, limits, limited, journal, purge=first) as admission,
        collecting(config, backend, services, observer.metrics.collection, journal, first=first),
        accounting(config, services, first=first),
        retaining(config, backend, services, observer.metrics.collection, journal, first=first),
        scrubbing(config, backend, services.terms, observer.metrics, journal, first=first),
        backing(config, backend, services.terms, observer.metrics.backups, journal, first=first),
        telling(config, backend, admission.tenancy, observer.metrics.deliveries, first=first),
        pulling(config, backend, services, first=first),
    ):
        if journal is not None:
            observer.metrics.watch_audit(partial(audit_counts, journal))
        throttle = limited.throttle
        if throttle is not None:
            observer.metrics.watch_refused(throttle.refused)
        if admission.tenancy is not None:
            watch_tenancy(observer.metrics, admission.tenancy)
        slowing = [throttle] if throttle is not None else []
        rooms: list[Room] = [health, *slowing]
        if not process.tokens_only:
            server = Server(
                services,
                admission.policy,
                limits,
                admission.gate,
                throttle,
                admission.trail,
                admission.shared,
            )
            rooms += [RegistryApi(server), *admission.rooms]  # what is asked for most comes first
        rooms += admission.tokens
        endpoint = Endpoint(rooms, observer, tracing.requests if tracing is not None else None)
        expire = partial(_expire_uploads, services.uploads)
        failed = "upload sessions that are over were not dropped"
        sweep, kept = services.tags.histories.sweep, "what deleted tags were was not forgotten"
        hourly = (("uploads.expire", expire, failed), ("histories.sweep", sweep, kept))
        async with beside(
            *[repeated(name, work, _HOUR, _log, text) for name, work, text in hourly if first]
        ):
            await _listen(config, process, endpoint, health, observer, certificate, signals)


async def _listen(
    config: Config,
    process: Process,
    endpoint: Endpoint,
    health: Health,
    observer: RequestObserver,
    certificate: Certificate | None,
    signals: _Signals,
) -> None:
    """Serve until a signal says to stop, and let running requests finish."""
    listener = Listener(
        endpoint,
        config.server,
        config.tls,
        observer,
        certificate=certificate,
        part=process.shares.part(process.number) if process.shares is not None else None,
    )
    scrapes = MetricsServer(observer.metrics, process.metrics_directory)
    watching = asyncio.create_task(certificate.watch()) if certificate is not None else None
    if config.metrics.addr is not None:
        listen(process.metrics, config.metrics.addr, config.server.backlog)
    await scrapes.start(process.metrics)
    if not process.supervised:  # else they have listened since before the workers were started
        listen(process.sockets, config.server.addr, config.server.backlog)
    listener.start(process.sockets)
    # What was imported and built stays: the collector need not look at it again.
    gc.collect()
    gc.freeze()
    signals.serving()
    process.ready()
    await signals.stop.wait()
    health.draining = True
    await _until(signals.hurry, config.server.drain_delay_seconds)
    await listener.drain(config.server.drain_seconds, signals.hurry)
    await scrapes.close()
    if watching is not None:
        watching.cancel()


async def _expire_uploads(uploads: Uploads) -> None:
    dropped = await uploads.expire()
    if dropped:
        _log.info("dropped %d uploads that were over", dropped)


async def _until(event: asyncio.Event, seconds: float) -> None:
    """Wait for ``event``, but no longer than ``seconds``."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
