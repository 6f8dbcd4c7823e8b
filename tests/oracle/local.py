"""A registry inside the test's own process: the real listener, services and stores on a thread."""

import asyncio
import contextlib
import os
import socket
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Literal, Self

from auth.policy import OpenPolicy
from registry.config import ServerConfig, TLSConfig
from registry.http.api import RegistryApi
from registry.http.call import Server
from registry.http.endpoint import Endpoint, Room
from registry.http.gate import OpenGate
from registry.http.health import Health
from registry.http.limits import Limits
from registry.http.listener import Listener
from registry.http.observe import RequestRecord
from registry.http.tls import Certificate
from registry.service.redirects import Redirects
from registry.service.services import Services
from storage.coordination import Coordinator
from storage.filesystem import FileStore
from storage.inprocess import InProcessCoordinator
from storage.keys import SESSION_KEY
from storage.memory import MemoryStore
from storage.ports import NotFound
from storage.s3 import S3Settings, S3Store
from tests.oracle.wire import Client

Kind = Literal["memory", "filesystem", "s3"]

PREFIXES = ("data/", "uploads/", "blobs/", "refs/", "mounts/", "catalog/", "repos/")
"""The top directories of the storage layout."""


class Observed:
    """Keeps what the endpoint tells of each request."""

    def __init__(self) -> None:
        self.running = 0
        self.records: list[RequestRecord] = []
        self.closed: list[str] = []
        self.connections: Callable[[], int] = lambda: 0

    def started(self) -> None:
        self.running += 1

    def finished(self, record: RequestRecord) -> None:
        self.running -= 1
        self.records.append(record)
        del self.records[:-1000]

    def connection_closed(self, reason: str) -> None:
        self.closed.append(reason)
        del self.closed[:-1000]

    def watch_connections(self, count: Callable[[], int]) -> None:
        self.connections = count


class LocalRegistry:
    """Serves a store on a free loopback port from its own thread and event loop.

    `wrap` may put something around the store (faults, counters). With `tls` it serves HTTPS too, at
    `secure_address`.
    """

    projects = False
    """Whether there are projects, which may have rules and quotas of their own."""

    def __init__(
        self,
        kind: Kind,
        data: Path | None = None,
        *,
        limits: Limits | None = None,
        config: ServerConfig | None = None,
        allow_sparse: bool = False,
        wrap: Callable[[Any], Any] | None = None,
        s3: S3Settings | None = None,
        redirects: Callable[[Any], Redirects] | None = None,
        observe: Callable[[str, str, float], None] = lambda *_: None,
        tls: TLSConfig | None = None,
        loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop,
    ) -> None:
        self.kind = kind
        self.data = data
        self.observed = Observed()
        self._limits = limits or Limits()
        self._config = config or ServerConfig()
        self._allow_sparse = allow_sparse
        self._wrap = wrap
        self._s3 = s3
        self._redirects = redirects
        self._observe = observe
        self._tls = tls
        self._loop = loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name=f"registry-{kind}", daemon=True
        )
        self.store: Any = None
        self._services: Services
        self.address = ""
        self.secure_address = ""
        self._listeners: list[Listener] = []

    def __enter__(self) -> Self:
        self._thread.start()
        self.run(self._start())
        return self

    def __exit__(self, *error: object) -> None:
        self.run(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def run(self, work: Coroutine[Any, Any, Any], seconds: float = 30) -> Any:
        """Run a coroutine on the registry's loop and give its result."""
        future: Future[Any] = asyncio.run_coroutine_threadsafe(work, self._loop)
        return future.result(seconds)

    def client(self, **options: Any) -> Client:
        """Give a client of this registry."""
        return Client(self.address, **options)

    async def _start(self) -> None:
        if self.kind == "memory":
            store: Any = MemoryStore()
        elif self.kind == "s3":
            assert self._s3 is not None
            store = await S3Store.opened(self._s3, self._observe, create=True)
        else:
            assert self.data is not None
            store = FileStore(self.data)
        self.store = self._wrap(store) if self._wrap else store
        coordinator = InProcessCoordinator()
        services = Services.over(
            self.store,
            coordinator,
            files=self.store if self.kind == "filesystem" and not self._wrap else None,
            memory=16 * 1024 * 1024,
            allow_sparse=self._allow_sparse,
            redirects=self._redirects(store) if self._redirects else None,
            exact=self.kind != "s3" or store.honours.delete,
            projects=self.projects,
        )
        self._services = services
        rooms = await self._rooms(services, coordinator)
        endpoint = Endpoint([Health(self.store), *rooms], self.observed)
        self.address = await self._listen(endpoint, TLSConfig(), None)
        if self._tls is not None:
            certificate = Certificate(self._tls, lambda _: None)
            self.secure_address = await self._listen(endpoint, self._tls, certificate)

    async def _listen(
        self, endpoint: Endpoint, tls: TLSConfig, certificate: Certificate | None
    ) -> str:
        sock = socket.create_server(("127.0.0.1", 0))
        sock.settimeout(0)
        listener = Listener(endpoint, self._config, tls, self.observed, certificate=certificate)
        listener.start([sock])
        self._listeners.append(listener)
        return f"127.0.0.1:{sock.getsockname()[1]}"

    async def _rooms(self, services: Services, coordinator: Coordinator) -> Sequence[Room]:
        """Give the rooms beside the health checks: the API, open to all."""
        return [RegistryApi(Server(services, OpenPolicy(), self._limits, OpenGate()))]

    async def _stop(self) -> None:
        for listener in self._listeners:
            await listener.drain(2, asyncio.Event())
        for task in asyncio.all_tasks():
            if task is not asyncio.current_task():
                task.cancel()
        await asyncio.sleep(0)
        if hasattr(self.store, "close"):
            closing = self.store.close()
            if asyncio.iscoroutine(closing):
                await closing

    def flush(self) -> None:
        """Do what is done now and then behind the answers: bytes that were there twice go."""
        self.run(self._services.candidates.flush())

    def census(self) -> dict[str, object]:
        """Give all that is kept: every key with its version, and whatever is below the surface.

        Unfinished content and temporary files count too: for the file-system store each file of
        its directory with its size, for S3 each object that no port knows of.
        """
        found: dict[str, object] = dict(self.run(self._keys()))
        if self.kind == "memory":
            inner = getattr(self.store, "inner", self.store)
            found |= {f"unfinished {key}": set(part) for key, part in inner._partial.items()}
        elif self.kind == "filesystem":
            assert self.data is not None
            for directory, _, files in os.walk(self.data):
                for name in files:
                    path = os.path.join(directory, name)  # noqa: PTH118
                    with contextlib.suppress(FileNotFoundError):
                        found[f"file {os.path.relpath(path, self.data)}"] = os.stat(path).st_size  # noqa: PTH116
        elif self.kind == "s3":
            found |= dict.fromkeys(self.run(self.store._bucket.page("~")).keys, "")
        # Made once for a store, by the first upload.
        return {key: kept for key, kept in found.items() if not key.endswith(SESSION_KEY)}

    async def _keys(self) -> dict[str, str]:
        found = {}
        for prefix in PREFIXES:
            after = ""
            while page := await self.store.list(prefix, after=after, limit=1000):
                for key in page:
                    # what went between the list and the look is as if it had gone before
                    with contextlib.suppress(NotFound):
                        found[key] = (await self.store.stat(key)).version
                after = page[-1]
        return found

    def tasks(self) -> int:
        """Count what runs on the registry's loop."""

        async def count() -> int:
            return len(asyncio.all_tasks()) - 1

        return int(self.run(count()))


@contextlib.contextmanager
def serving(kind: Kind, directory: Path, **options: Any) -> Iterator[LocalRegistry]:
    """Serve a new store of that kind; the file-system store lies below `directory`."""
    data = directory / "data" if kind == "filesystem" else None
    with LocalRegistry(kind, data, **options) as registry:
        yield registry
