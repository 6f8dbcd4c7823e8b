"""The composition root's part for traces: what makes spans, and sends them to a collector.

A thread of its own sends them. Where the collector does not keep up, or is gone, spans are dropped
and counted, and nothing waits for it: not a request, and not the end of the process for long.
"""

import asyncio
import contextlib
import logging
import os
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Final, final

import requests
from aiohttp import TraceConfig
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import INVALID_SPAN, SpanKind

from registry.config import Config
from registry.http.forwarded import Proxies
from registry.http.tracing import TraceMetrics
from registry.tracing.clients import client_spans
from registry.tracing.ports import TracedCoordinator, redis_span, storage_span, thread_span
from registry.tracing.requests import RequestSpans
from registry.tracing.sampling import sampler
from registry.tracing.spans import ACTIVE, Active, Root, failed
from registry.version import __version__
from storage.coordination import LeaseHeld

_log = logging.getLogger("moorage.tracing")

_BATCH: Final = 256
"""Spans of one message: few, as they are encoded while others want the interpreter."""

_DELAY: Final = 1000
"""Milliseconds that a span may wait for others to be sent with it."""

_PATIENCE: Final = 2.0
"""Seconds for sending what is left at the end."""

_TEXT: Final = 2048


@final
class Tracing:
    """Makes spans of requests and of background work."""

    def __init__(self, config: Config, provider: TracerProvider) -> None:
        self._tracer = provider.get_tracer("moorage", __version__)
        tracing = config.tracing
        self.requests = RequestSpans(
            self._tracer,
            parents=tracing.parents,
            proxies=Proxies(config.server.trusted_proxies),
            principals=config.log.access,
        )

        self.storage = storage_span
        self.redis = redis_span
        self.threads = thread_span
        self.coordinator = TracedCoordinator
        self.current = current

    def calls(self, to: str) -> Sequence[TraceConfig]:
        """Return what a session for requests ``to`` others is to be made with."""
        return (client_spans(to),)

    @contextlib.contextmanager
    def run(self, name: str) -> Iterator[None]:
        """Have what happens inside below a span that begins a trace."""
        span = self._tracer.start_span(name, Context(), SpanKind.INTERNAL)
        root = Root(self._tracer, span) if span.is_recording() else None
        before = ACTIVE.get()
        ACTIVE.set(Active(span, root))
        try:
            yield
        except LeaseHeld:
            span.set_attribute("moorage.outcome", "busy")
            raise
        except BaseException as error:
            failed(span, type(error).__name__)
            raise
        finally:
            ACTIVE.set(before)
            if root is not None:
                root.end()


def current() -> dict[str, str]:
    """The ids of the trace and span that are under way, for the log; empty if none is recorded."""
    active = ACTIVE.get()
    if active is None or active.root is None or active.span is INVALID_SPAN:
        return {}
    found = active.span.get_span_context()
    return {"trace_id": f"{found.trace_id:032x}", "span_id": f"{found.span_id:016x}"}


@contextlib.asynccontextmanager
async def opened(config: Config, metrics: TraceMetrics, worker: int = 0) -> AsyncIterator[Tracing]:
    """Make spans while this is entered, and send what is left at the end, for two seconds."""
    provider = _provider(config, metrics, worker)
    try:
        yield Tracing(config, provider)
    finally:
        ending = threading.Thread(target=provider.shutdown, name="tracing-end", daemon=True)
        ending.start()
        await asyncio.to_thread(ending.join, _PATIENCE)


def _provider(config: Config, metrics: TraceMetrics, worker: int) -> TracerProvider:
    wanted = config.tracing
    # It logs each attempt that fails; ``_Counted`` says it once.
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    session = requests.Session()
    system = ssl.get_default_verify_paths()
    # Else a .netrc file or a proxy of the environment decides what is sent where.
    session.trust_env = False
    exporter = OTLPSpanExporter(
        wanted.endpoint,
        certificate_file=wanted.ca_file or system.cafile or system.capath,
        headers={"Authorization": wanted.authorization.reveal()} if wanted.authorization else {},
        timeout=wanted.timeout_seconds,
        compression=Compression.Gzip,
        session=session,
    )
    provider = TracerProvider(
        sampler(wanted.ratio),
        Resource.create(
            {
                "service.name": wanted.service,
                "service.version": __version__,
                "service.instance.id": f"{socket.gethostname()}-{os.getpid()}-{worker}",
            }
        ),
        shutdown_on_exit=False,
        span_limits=SpanLimits(max_span_attribute_length=_TEXT),
    )
    provider.add_span_processor(
        _Processor(
            _Counted(exporter, metrics),
            metrics,
            queue=wanted.queue,
        )
    )
    return provider


class _Processor(BatchSpanProcessor):
    def __init__(self, exporter: SpanExporter, metrics: TraceMetrics, *, queue: int) -> None:
        super().__init__(
            exporter,
            max_queue_size=queue,
            schedule_delay_millis=_DELAY,
            max_export_batch_size=min(_BATCH, queue),
        )
        self._told = metrics

    def on_end(self, span: ReadableSpan) -> None:
        self._told.ended += 1
        super().on_end(span)


class _Counted(SpanExporter):
    """Sends, counts, and says when the collector is lost and when it is back."""

    def __init__(self, inner: SpanExporter, metrics: TraceMetrics) -> None:
        self._inner = inner
        self._metrics = metrics
        self._lost = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self._inner.export(spans)
        lost = result is not SpanExportResult.SUCCESS
        if lost:
            self._metrics.failed += len(spans)
        else:
            self._metrics.exported += len(spans)
        if lost and not self._lost:
            _log.warning("the collector of traces does not take them: spans are dropped")
        elif self._lost and not lost:
            _log.info("the collector takes traces again")
        self._lost = lost
        return result

    def shutdown(self) -> None:
        self._inner.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._inner.force_flush(timeout_millis)
