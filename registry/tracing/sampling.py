"""What is traced where nobody before us has decided on it."""

import time
from collections.abc import Sequence
from hashlib import blake2b
from typing import Final, final

from opentelemetry.context import Context
from opentelemetry.sdk.trace.sampling import Decision, ParentBased, Sampler, SamplingResult
from opentelemetry.trace import Link, SpanKind, TraceState
from opentelemetry.util.types import Attributes

WINDOW: Final = 600
"""Seconds for which the decision on what is pushed to a repository holds."""

_WRITES: Final = frozenset({"POST", "PATCH", "PUT", "DELETE"})
_ALL: Final = 1 << 64


def sampler(ratio: float) -> Sampler:
    """Follow whoever sent a traceparent; else trace ``ratio`` of pushes, and of other requests."""
    return ParentBased(root=WholePushes(ratio))


@final
class WholePushes(Sampler):
    """Traces a push whole or not at all, whichever replicas its requests come to.

    A push is many requests, and most clients send no traceparent. So what is written to one
    repository in the same ten minutes is traced or not, as a hash says that all replicas know;
    what is read is judged one by one.
    """

    def __init__(self, ratio: float) -> None:
        """Trace ``ratio`` (0 to 1) of all."""
        self._bound = round(ratio * _ALL)
        self._ratio = ratio

    def should_sample(
        self,
        parent_context: Context | None,  # noqa: ARG002
        trace_id: int,
        name: str,  # noqa: ARG002
        kind: SpanKind | None = None,  # noqa: ARG002
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,  # noqa: ARG002
        trace_state: TraceState | None = None,  # noqa: ARG002
    ) -> SamplingResult:
        """See ``Sampler``."""
        given = attributes or {}
        repository = given.get("moorage.repository")
        number = trace_id % _ALL
        if repository and given.get("http.request.method") in _WRITES:
            text = f"{int(time.time()) // WINDOW} {repository}"
            number = int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")
        if number < self._bound:
            return SamplingResult(Decision.RECORD_AND_SAMPLE, attributes)
        return SamplingResult(Decision.DROP)

    def get_description(self) -> str:
        """See ``Sampler``."""
        return f"WholePushes{{{self._ratio}}}"
