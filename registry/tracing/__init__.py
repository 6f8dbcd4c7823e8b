"""Traces by OpenTelemetry: the only package that knows it.

Nothing outside asks for spans. The composition root wraps the ports and hands hooks to what opens
connections, and all of them look at one context variable (``spans.ACTIVE``): where no request that
is traced is under way, that look is all there is. Where traces are off, OpenTelemetry is not even
imported.
"""

import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from registry.background import AROUND
from registry.config import Config
from registry.http.tracing import TraceMetrics

if TYPE_CHECKING:
    from registry.tracing.opening import Tracing


@contextlib.asynccontextmanager
async def traced(
    config: Config, metrics: TraceMetrics, worker: int = 0
) -> AsyncIterator["Tracing | None"]:
    """Make spans while this is entered, if the configuration names a collector.

    Background work that is begun inside has a trace for each of its runs.
    """
    if not config.tracing.endpoint:
        yield None
        return
    from registry.tracing.opening import opened  # noqa: PLC0415  0.2 s, only where it is used

    async with opened(config, metrics, worker) as tracing:
        AROUND.set(tracing.run)
        yield tracing
