"""The composition root's part that opens what is kept and what is shared: store, coordinator."""

import asyncio
import contextlib
import dataclasses
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from registry.config import Config
from registry.config.check_redis import coordinated
from registry.http.metrics import Metrics
from registry.service.redirects import Redirects
from storage.coordination import Coordinator
from storage.filesystem import FileStore, StoreRefused
from storage.inprocess import InProcessCoordinator
from storage.instrumented import instrument
from storage.memory import MemoryStore
from storage.ports import ContentStore, FileContent, Unavailable
from storage.shared import HostCoordinator

if TYPE_CHECKING:
    from aiohttp import TraceConfig

    from registry.tracing.opening import Tracing
    from storage.s3 import S3Settings, S3Store

_log = logging.getLogger("moorage")

_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 5.0

COORDINATION = "coordination"
"""The directory within the file-system store where its processes meet."""


@dataclass(slots=True)
class Backend:
    """What the services of a process stand on."""

    store: ContentStore
    coordinator: Coordinator
    files: FileContent | None = None
    """The store again, where its content is local files."""

    redirects: Redirects | None = None
    exact: bool = True
    """Whether the store deletes an object at a version in one step."""

    conditional: bool = True
    """Whether the store judges between two writers: if not, one process serves it."""

    traces: Callable[[str], Sequence["TraceConfig"]] = lambda _to: ()
    """What sessions for requests to others, of that kind, are made with."""


@contextlib.asynccontextmanager
async def opened(
    config: Config, metrics: Metrics, tracing: "Tracing | None" = None, *, patient: bool = False
) -> AsyncIterator[Backend]:
    """Open the store and the coordinator that the configuration names.

    ``patient``: wait for a store that does not answer yet, for ``storage.s3.wait_seconds``.
    """
    async with _opened(config, metrics, tracing, patient=patient) as backend:
        if tracing is not None:
            backend.coordinator = tracing.coordinator(backend.coordinator)
            backend.traces = tracing.calls
        yield backend


@contextlib.asynccontextmanager
async def _opened(
    config: Config, metrics: Metrics, tracing: "Tracing | None", *, patient: bool
) -> AsyncIterator[Backend]:
    driver = config.storage.driver
    begin = tracing.storage if tracing is not None else None

    def observe(operation: str, outcome: str, seconds: float, size: int) -> None:  # noqa: ARG001
        metrics.storage_operation(driver, operation, outcome, seconds)

    if driver == "memory":
        yield Backend(instrument(MemoryStore(), observe, begin), InProcessCoordinator())
        return
    if driver == "s3":
        async with _bucket(config, metrics, tracing, patient=patient) as bucket:
            store = instrument(bucket, observe, begin)
            redirects = (
                Redirects(store, config.storage.s3.redirect_seconds)
                if config.storage.s3.redirect
                else None
            )
            conditional = bucket.conditional
            async with _coordinator(
                config, store, metrics, tracing, conditional=conditional
            ) as one:
                yield Backend(
                    store,
                    one,
                    redirects=redirects,
                    exact=bucket.honours.delete,
                    conditional=conditional,
                )
        return
    root = Path(config.storage.path)
    files = FileStore(root)
    try:
        # One directory may be served by several processes: workers, and an old registry that
        # drains while its successor starts.
        local = instrument(files, observe, begin)
        async with _coordinator(config, local, metrics, tracing, conditional=True) as one:
            yield Backend(local, one, local)
    finally:
        files.close()


@contextlib.asynccontextmanager
async def storing(config: Config, metrics: Metrics) -> AsyncIterator[ContentStore]:
    """Open the store that the configuration names, to be read only: without a coordinator.

    ``StoreRefused`` where a directory of files holds no store.
    """
    if config.storage.driver == "s3":
        async with _bucket(config, metrics) as bucket:
            yield bucket
        return
    root = Path(config.storage.path)
    if config.storage.driver == "memory" or not await asyncio.to_thread(root.is_dir):
        raise StoreRefused(str(root), "there is no store in it")
    files = FileStore(root)
    try:
        yield files
    finally:
        files.close()


@contextlib.asynccontextmanager
async def _coordinator(
    config: Config,
    store: ContentStore,
    metrics: Metrics,
    tracing: "Tracing | None",
    *,
    conditional: bool,
) -> AsyncIterator[Coordinator]:
    """Open what the processes of ``store`` coordinate through."""
    if coordinated(config):
        from registry.replication import replicas  # noqa: PLC0415  as with S3: only where used

        async with replicas(
            config,
            store,
            metrics.coordination,
            conditional=conditional,
            watch=tracing.redis if tracing is not None else None,
        ) as found:
            yield found
    elif config.storage.driver == "filesystem":
        yield HostCoordinator(Path(config.storage.path) / COORDINATION)
    else:  # one process only, which the configuration has been checked for
        yield InProcessCoordinator()


@contextlib.asynccontextmanager
async def _bucket(
    config: Config, metrics: Metrics, tracing: "Tracing | None" = None, *, patient: bool = False
) -> AsyncIterator["S3Store"]:
    from storage.s3 import S3Store  # noqa: PLC0415  botocore takes 0.3 s: only where it is used

    settings = s3_settings(config)
    opening = partial(
        S3Store.opened,
        settings,
        metrics.s3.request,
        create=config.storage.s3.create_bucket,
        traces=tracing.calls("s3") if tracing is not None else (),
    )
    store = await _there(opening, settings, config.storage.s3.wait_seconds if patient else 0.0)
    try:
        honours = dataclasses.asdict(store.honours)
        metrics.s3.honours(honours)
        metrics.s3.watch(store.load)
        _log.info(
            "S3 bucket %s at %s honours: %s",
            settings.bucket,
            settings.endpoint or "Amazon",
            ", ".join(f"{name} {value or 'no'}" for name, value in honours.items()),
        )
        if not store.conditional:
            _log.warning(
                "the store does not honour conditions on writes: only one process may serve "
                "this bucket, and nothing else may write it"
            )
        yield store
    finally:
        await store.close()


async def _there(
    opening: Callable[[], Awaitable["S3Store"]], settings: "S3Settings", seconds: float
) -> "S3Store":
    """Open the store, again and again for so many ``seconds`` while it does not answer.

    All of an installation may be started at once, and a store takes longer than a registry. Then
    ``Unavailable``: whoever runs this starts it again. What a store refuses is not waited for.
    """
    loop = asyncio.get_running_loop()
    until, pause = loop.time() + seconds, _FIRST_PAUSE
    while True:
        try:
            return await opening()
        except Unavailable as error:
            left = until - loop.time()
            if left <= 0:
                place = f"bucket {settings.bucket} at {settings.endpoint or 'Amazon'}"
                raise Unavailable(place, str(error).removeprefix(f"{error.key}: ")) from error
            _log.warning("the store does not answer yet, waiting for %.0f s more: %s", left, error)
            await asyncio.sleep(min(pause, left))
            pause = min(2 * pause, _LONGEST_PAUSE)


def s3_settings(config: Config) -> "S3Settings":
    """Return what the driver is told."""
    from storage.s3 import PartPlan, S3Settings  # noqa: PLC0415  as above

    s3 = config.storage.s3
    return S3Settings(
        bucket=s3.bucket,
        endpoint=s3.endpoint,
        region=s3.region,
        prefix=s3.prefix,
        addressing=s3.addressing,
        access_key=s3.access_key.reveal(),
        secret_key=s3.secret_key.reveal(),
        session_token=s3.session_token.reveal(),
        ca_file=s3.ca_file,
        connections=s3.connections,
        connect_seconds=s3.connect_seconds,
        read_seconds=s3.read_seconds,
        total_seconds=s3.total_seconds,
        parts=PartPlan(s3.part_bytes, s3.parts_in_flight),
        buffer_bytes=s3.buffer_bytes,
        public_endpoint=s3.public_endpoint,
    )
