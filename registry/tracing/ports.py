"""Spans of what is asked of the ports: the store, the coordinator, Redis, pools of threads."""
# ruff: noqa: D102 - what each method does is said once, in the port

from asyncio import Future
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from time import time_ns
from typing import Any, Final, final

from opentelemetry.trace import Span, SpanKind

from registry.tracing.spans import ACTIVE, Active, Root, begun, failed, summed, within
from storage.coordination import Change, Coordinator, Lease
from storage.redis import named

_PIECES: Final = frozenset({"read", "write"})
_TOLD: Final = frozenset({"blobs", "catalog", "data", "gc", "refs", "repos"})
"""What keys begin with that have names in them which the logs have too."""

_FAILURES: Final = frozenset({"unavailable", "failed", "cancelled"})


def storage_span(operation: str, key: str) -> "Callable[[str, int], None] | None":
    """Begin the span of one call of the store; what is returned ends it. See ``Beginning``."""
    active = ACTIVE.get()
    if active is None or active.root is None:
        return None
    if operation in _PIECES:
        return _Summed(operation)
    area = key.partition("/")[0]
    span = begun(
        f"storage {operation}",
        {"moorage.storage.key": key[:1024] if area in _TOLD else f"{area}/…"},
    )
    return _Call(span, active.root, active) if span is not None else None


class _Summed:
    __slots__ = ("_piece",)

    def __init__(self, operation: str) -> None:
        self._piece = summed(f"storage {operation}")

    def __call__(self, outcome: str, size: int) -> None:  # noqa: ARG002
        if self._piece is not None:
            self._piece(size)


class _Call:
    __slots__ = ("_before", "_span")

    def __init__(self, span: Span, root: Root, before: Active) -> None:
        self._span = span
        self._before = before
        ACTIVE.set(Active(span, root))

    def __call__(self, outcome: str, size: int) -> None:
        ACTIVE.set(self._before)
        span = self._span
        span.set_attribute("moorage.outcome", outcome)
        if size:
            span.set_attribute("moorage.bytes", size)
        if outcome in _FAILURES:
            failed(span, outcome)
        span.end()


@final
class TracedCoordinator:
    """A ``Coordinator`` over another: waiting for locks has spans, holding them has none."""

    def __init__(self, inner: Coordinator) -> None:
        self._inner = inner

    @property
    def lapse(self) -> float:
        return self._inner.lapse

    @asynccontextmanager
    async def hold(self, name: str, *, wait: float = 0.0) -> AsyncIterator[Lease]:
        async with AsyncExitStack() as stack:
            with within("lease wait", {"moorage.lock": _kind(name)}):
                lease = await stack.enter_async_context(self._inner.hold(name, wait=wait))
            yield lease

    async def stamps(self, *names: str) -> tuple[int | None, ...]:
        return await self._inner.stamps(*names)

    @asynccontextmanager
    async def change(self, *names: str, wait: float = 10.0) -> AsyncIterator[Change]:
        async with AsyncExitStack() as stack:
            with within("lock wait", {"moorage.lock": " ".join(sorted(map(_kind, names)))}):
                change = await stack.enter_async_context(self._inner.change(*names, wait=wait))
            yield change


def _kind(name: str) -> str:
    """What a lock is about, without which one: names have sessions and principals in them."""
    return name.partition("/")[0][:32]


def redis_span(command: tuple[str | int, ...], answer: "Future[Any]") -> None:
    """Have a span from a command to its answer. Commands of a moment share one round trip."""
    name, script = named(command)
    attributes = {"db.system.name": "redis", "db.operation.name": name}
    if script:
        attributes["db.stored_procedure.name"] = script
    span = begun(f"redis {script or name}", attributes, SpanKind.CLIENT)
    if span is not None:
        answer.add_done_callback(lambda done: _answered(span, done))


def _answered(span: Span, answer: "Future[Any]") -> None:
    if answer.cancelled():
        failed(span, "cancelled")
    elif answer.exception() is not None:
        failed(span, type(answer.exception()).__name__)
    span.end()


def thread_span(pool: str, work: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap what a pool of threads is to do: it tells how long that waits for one, and takes."""
    active = ACTIVE.get()
    if active is None or active.root is None:
        return work
    root, asked = active.root, time_ns()

    def measured(*args: Any, **options: Any) -> Any:
        began = time_ns()
        root.add(f"{pool} wait", asked, began)
        try:
            return work(*args, **options)
        finally:
            root.add(pool, began, time_ns())

    return measured


_: type[Coordinator] = TracedCoordinator
