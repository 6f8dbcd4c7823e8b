"""Spans of requests to other servers, and the traceparent that these get."""

from types import SimpleNamespace
from typing import Any, Final, final

from aiohttp import (
    TraceConfig,
    TraceRequestEndParams,
    TraceRequestExceptionParams,
    TraceRequestStartParams,
)
from opentelemetry.trace import SpanKind, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from registry.tracing.spans import ACTIVE, Attributes, begun, failed, summed

_propagator: Final = TraceContextTextMapPropagator()


def client_spans(to: str) -> TraceConfig:
    """Return what tells of all requests of a session to ``to``: S3, a webhook, an issuer….

    Paths and queries are left out: those of webhooks are secrets now and then.
    """
    calls: TraceConfig = TraceConfig()
    told = _Calls(to)
    calls.on_request_start.append(told.start)
    calls.on_connection_queued_start.append(told.queued)
    calls.on_connection_queued_end.append(told.unqueued)
    calls.on_connection_create_start.append(told.connecting)
    calls.on_connection_create_end.append(told.connected)
    calls.on_request_end.append(told.end)
    calls.on_request_exception.append(told.broken)
    return calls


@final
class _Calls:
    """Told of each step of a request, in its task; ``context`` is the request's own."""

    def __init__(self, to: str) -> None:
        self._to = to

    async def start(self, _: Any, context: SimpleNamespace, told: TraceRequestStartParams) -> None:
        active = ACTIVE.get()
        context.span = context.waiting = None
        if active is None:
            return
        attributes: Attributes = {
            "http.request.method": told.method,
            "url.scheme": told.url.scheme,
            "server.address": told.url.host or "",
            "server.port": told.url.port or 0,
        }
        operation = context.trace_request_ctx or told.method
        context.span = begun(f"{self._to} {operation}", attributes, SpanKind.CLIENT)
        _propagator.inject(told.headers, set_span_in_context(context.span or active.span))

    async def queued(self, _: Any, context: SimpleNamespace, __: Any) -> None:
        context.waiting = summed(f"{self._to} pool wait")

    async def unqueued(self, _: Any, context: SimpleNamespace, __: Any) -> None:
        if context.waiting is not None:
            context.waiting()

    async def connecting(self, _: Any, context: SimpleNamespace, __: Any) -> None:
        if context.span is not None:
            context.span.add_event("connecting")

    async def connected(self, _: Any, context: SimpleNamespace, __: Any) -> None:
        if context.span is not None:
            context.span.add_event("connected")

    async def end(self, _: Any, context: SimpleNamespace, told: TraceRequestEndParams) -> None:
        if context.span is None:
            return
        status = told.response.status
        context.span.set_attribute("http.response.status_code", status)
        if status >= 500:
            failed(context.span, str(status))
        context.span.end()

    async def broken(
        self, _: Any, context: SimpleNamespace, told: TraceRequestExceptionParams
    ) -> None:
        if context.span is not None:
            failed(context.span, type(told.exception).__name__)
            context.span.end()
