"""One span for each request that a client makes, by OpenTelemetry's conventions for HTTP servers.

What clients put where secrets may be is left out: the query, headers but ``User-Agent``, the end of
a session's id. Who asked is told only if the access log tells it too.
"""

from typing import Final, final

from aiohttp import hdrs
from aiohttp.web import BaseRequest
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from registry.http.answer import BESIDE, Answer
from registry.http.forwarded import Proxies
from registry.http.observe import RequestRecord
from registry.logs import redact
from registry.spec import requests as spec
from registry.spec.errors import RegistryError
from registry.tracing.spans import ACTIVE, Active, Root, failed

_PATH: Final = 1024
_TEXT: Final = 256
_SESSION: Final = 16
_PARENT, _STATE = "traceparent", "tracestate"
_NOBODY: Final = Context()
_propagator: Final = TraceContextTextMapPropagator()


@final
class RequestSpans:
    """Begins a span for each request. For the tasks of one event loop."""

    def __init__(self, tracer: Tracer, *, parents: str, proxies: Proxies, principals: bool) -> None:
        """Go on with the traceparent of ``parents``: ``proxies``, ``all`` or ``none``."""
        self._tracer = tracer
        self._all = parents == "all"
        self._proxies = proxies if parents == "proxies" else Proxies(())
        self._principals = principals

    def begin(self, http: BaseRequest, record: RequestRecord) -> "RequestSpan":
        """See ``Spans``."""
        context = self._parent(http)
        attributes: dict[str, str | int] = {"http.request.method": record.method[:_SESSION]}
        if context is _NOBODY:
            repository = _repository(record)
            if repository:
                attributes["moorage.repository"] = repository
        span = self._tracer.start_span(
            record.method[:_SESSION], context, SpanKind.SERVER, attributes
        )
        found = span.get_span_context()
        recorded = span.is_recording()
        root = Root(self._tracer, span) if recorded else None
        ACTIVE.set(Active(span, root))
        if recorded:
            record.trace_id = f"{found.trace_id:032x}"
            line = f"00-{record.trace_id}-{found.span_id:016x}-{found.trace_flags:02x}"
            http[BESIDE] = (("traceresponse", line),)
        return RequestSpan(span, root, http, principals=self._principals)

    def _parent(self, http: BaseRequest) -> Context:
        lines = http.headers.getall(_PARENT, ())
        if len(lines) != 1 or not (self._all or self._proxied(http)):
            return _NOBODY
        carrier = {_PARENT: lines[0], _STATE: ",".join(http.headers.getall(_STATE, ()))}
        found = _propagator.extract(carrier, _NOBODY)
        return found or _NOBODY

    def _proxied(self, http: BaseRequest) -> bool:
        if not self._proxies or http.transport is None:
            return False
        peer: tuple[str, int] | None = http.transport.get_extra_info("peername")
        return peer is not None and self._proxies.knows(peer[0])


def _repository(record: RequestRecord) -> str:
    try:
        return str(getattr(spec.parse(record.method, record.path, record.query), "repository", ""))
    except RegistryError:
        return ""


@final
class RequestSpan:
    """The span of one request."""

    __slots__ = ("_http", "_principals", "_root", "_span")

    def __init__(
        self, span: Span, root: Root | None, http: BaseRequest, *, principals: bool
    ) -> None:
        self._span = span
        self._root = root
        self._http = http
        self._principals = principals

    def end(self, record: RequestRecord, answer: Answer | None) -> None:
        """See ``Spans``."""
        ACTIVE.set(None)
        if self._root is None:
            return
        span = self._span
        span.update_name(record.action or record.method[:_SESSION])
        span.set_attributes(self._attributes(record, answer))
        if record.status >= 500:
            failed(span, record.code or str(record.status))
        elif record.status == 499:
            span.set_attribute("error.type", "client_gone")
        else:
            span.set_status(StatusCode.UNSET)
        self._root.end()

    def _attributes(
        self, record: RequestRecord, answer: Answer | None
    ) -> dict[str, str | int | list[str]]:
        http = self._http
        found: dict[str, str | int | list[str]] = {
            "url.scheme": http.scheme,
            "url.path": _path(record),
            "server.address": http.headers.get(hdrs.HOST, "")[:_TEXT],
            "client.address": record.remote,
            "user_agent.original": record.user_agent[:_TEXT],
            "network.protocol.version": f"{http.version.major}.{http.version.minor}",
            "http.response.status_code": record.status,
            "http.request.body.size": record.received,
            "http.response.body.size": record.sent,
            "moorage.request_id": record.request_id,
            "moorage.action": record.action,
            "moorage.repository": record.repository,
            "moorage.upload": record.upload,
            "moorage.code": record.code,
            "enduser.id": record.principal if self._principals else "",
        }
        if answer is not None:
            found["moorage.digest"] = answer.header("Docker-Content-Digest")
            found["moorage.blobs"] = [str(each) for each in answer.names]
        return {name: value for name, value in found.items() if value or value == 0}


def _path(record: RequestRecord) -> str:
    path = record.path
    if record.upload:  # the end of a session's id is what proves it
        head, _, last = path.rpartition("/")
        path = f"{head}/{last[:_SESSION]}"
    return redact(path[:_PATH])
