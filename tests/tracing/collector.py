"""A collector: takes OTLP over HTTP as a real one does, and keeps the spans for the test."""

import gzip
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

KINDS = ("unspecified", "internal", "server", "client", "producer", "consumer")


@dataclass(frozen=True)
class Span:
    name: str
    kind: str
    trace: str
    id: str
    parent: str
    began: int
    ended: int
    failed: bool
    process: str
    attributes: dict[str, Any] = field(repr=False)

    def __getitem__(self, name: str) -> Any:
        return self.attributes[name]


class Collector:
    """Listens on a free loopback port while it is entered."""

    def __init__(self) -> None:
        self.raw: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        self._spans: list[Span] = []
        self._more = threading.Condition()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1/traces"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def spans(self) -> list[Span]:
        with self._more:
            return list(self._spans)

    def wait(self, enough: Callable[[list[Span]], object], seconds: float = 60) -> list[Span]:
        """Wait until the spans are enough; give them. Fails after `seconds`."""
        with self._more:
            assert self._more.wait_for(lambda: enough(self._spans), seconds), sorted(
                (span.name, span.process) for span in self._spans
            )
            return list(self._spans)

    def requests(self, trace: str, count: int) -> tuple[list[Span], list[Span]]:
        """Wait for so many requests of a trace; give them in order, and all spans of the trace.

        A process sends what is below a request before the request's own span.
        """

        def of_trace(spans: list[Span]) -> list[Span]:
            return [span for span in spans if span.trace == trace]

        def requests(spans: list[Span]) -> list[Span]:
            found = [span for span in of_trace(spans) if span.kind == "server"]
            return sorted(found, key=lambda span: span.began)

        spans = self.wait(lambda spans: len(requests(spans)) >= count)
        return requests(spans), of_trace(spans)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        collector = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                collector.take(self.path, dict(self.headers), body)
                answer = ExportTraceServiceResponse().SerializeToString()
                self.send_response(200)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                pass

        return Handler

    def take(self, path: str, headers: dict[str, str], body: bytes) -> None:
        assert path == "/v1/traces"
        if headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        request = ExportTraceServiceRequest.FromString(body)
        found = [
            _span(span, _values(resource.resource.attributes)["service.instance.id"])
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]
        with self._more:
            self.raw.append(body)
            self.headers.append({name.lower(): value for name, value in headers.items()})
            self._spans += found
            self._more.notify_all()


def _span(span: Any, process: str) -> Span:
    return Span(
        span.name,
        KINDS[span.kind],
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        span.start_time_unix_nano,
        span.end_time_unix_nano,
        span.status.code == 2,
        process,
        _values(span.attributes),
    )


def _values(attributes: Any) -> dict[str, Any]:
    return {each.key: _value(each.value) for each in attributes}


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(each) for each in value.array_value.values]
    return getattr(value, kind)
