"""The spans of one request, or of one run of background work: nested, and bounded.

What comes in many small pieces (bytes read, written, hashed) is summed up: one span for each kind,
from the first piece to the last, with how many there were and how long they took together.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Lock
from time import time_ns
from typing import Final, NamedTuple, final

from opentelemetry.trace import (
    Span,
    SpanKind,
    StatusCode,
    Tracer,
    set_span_in_context,
)

Attributes = Mapping[str, str | int | float | bool | list[str]]

MOST: Final = 1000
"""Spans that one request may have; ``moorage.spans_left_out`` of its own counts the others."""


class _Sum:
    __slots__ = ("calls", "first", "last", "nanoseconds", "size")

    def __init__(self, began: int) -> None:
        self.calls = self.nanoseconds = self.size = 0
        self.first = self.last = began


@final
class Root:
    """What all spans of one request share."""

    def __init__(self, tracer: Tracer, span: Span) -> None:
        """The request's own span is ``span``."""
        self.span = span
        self._tracer = tracer
        self._left = MOST
        self._left_out = 0
        self._sums: dict[str, _Sum] = {}
        self._lock = Lock()
        self._ended = False

    def start(self, parent: Span, name: str, kind: SpanKind, attributes: Attributes) -> Span | None:
        """Begin a span; ``None`` where there are too many, or the request is over.

        Background work that a request began inherits its context, and may go on for ever.
        """
        if self._ended:
            return None
        if self._left == 0:
            self._left_out += 1
            return None
        self._left -= 1
        context = set_span_in_context(parent)
        return self._tracer.start_span(name, context, kind, dict(attributes))

    def add(self, name: str, began: int, ended: int, size: int = 0) -> None:
        """Add a piece to a sum, from any thread; times are Unix nanoseconds."""
        with self._lock:
            found = self._sums.get(name)
            if found is None:
                found = self._sums.setdefault(name, _Sum(began))
            found.calls += 1
            found.nanoseconds += ended - began
            found.size += size
            found.last = max(found.last, ended)

    def end(self) -> None:
        """End the request's span, and those of the sums."""
        self._ended = True
        context = set_span_in_context(self.span)
        with self._lock:
            sums, self._sums = self._sums, {}
        for name, found in sums.items():
            attributes: dict[str, int | float] = {
                "moorage.calls": found.calls,
                "moorage.seconds": found.nanoseconds / 1e9,
            }
            if found.size:
                attributes["moorage.bytes"] = found.size
            span = self._tracer.start_span(
                name, context, SpanKind.INTERNAL, attributes, start_time=found.first
            )
            span.end(found.last)
        if self._left_out:
            self.span.set_attribute("moorage.spans_left_out", self._left_out)
        self.span.end()


class Active(NamedTuple):
    """The span under which things happen; without a ``root`` nobody records it."""

    span: Span
    root: Root | None


ACTIVE: Final[ContextVar[Active | None]] = ContextVar("moorage_active_span", default=None)


def begun(
    name: str, attributes: Attributes | None = None, kind: SpanKind = SpanKind.INTERNAL
) -> Span | None:
    """Begin a span below the active one, if that is recorded. Who began it ends it."""
    active = ACTIVE.get()
    if active is None or active.root is None:
        return None
    return active.root.start(active.span, name, kind, attributes or {})


@contextmanager
def within(name: str, attributes: Attributes | None = None) -> Iterator[Span | None]:
    """Have what happens inside below a span of its own."""
    before = ACTIVE.get()
    span = begun(name, attributes)
    if span is None or before is None:
        yield None
        return
    ACTIVE.set(Active(span, before.root))
    try:
        yield span
    except BaseException as error:
        failed(span, type(error).__name__)
        raise
    finally:
        ACTIVE.set(before)
        span.end()


def failed(span: Span, kind: str) -> None:
    """Mark a span as failed; ``kind`` is a name from a closed list, never a message."""
    span.set_attribute("error.type", kind)
    span.set_status(StatusCode.ERROR)


def summed(name: str) -> "_Piece | None":
    """Begin a piece of a sum; call it with its size when it has ended."""
    active = ACTIVE.get()
    if active is None or active.root is None:
        return None
    return _Piece(active.root, name)


class _Piece:
    __slots__ = ("_began", "_name", "_root")

    def __init__(self, root: Root, name: str) -> None:
        self._root = root
        self._name = name
        self._began = time_ns()

    def __call__(self, size: int = 0) -> None:
        self._root.add(self._name, self._began, time_ns(), size)
