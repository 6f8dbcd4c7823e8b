"""Whether the process lives, and whether it can serve."""

import asyncio

from aiohttp.web import BaseRequest

from registry.http.answer import Answer
from registry.http.observe import RequestRecord
from storage import keys
from storage.ports import NotFound, ObjectStore, StorageError

_TEXT = ("Content-Type", "text/plain; charset=utf-8")


class Health:
    """Answers ``/healthz`` (the process runs) and ``/readyz`` (it can serve its clients).

    A broken store makes it not ready, but not dead: restarting the process would not mend that.
    """

    def __init__(self, store: ObjectStore, seconds: float = 2.0) -> None:
        """Ask ``store``, and give it so many ``seconds`` to answer."""
        self._store = store
        self._seconds = seconds
        self._looking: asyncio.Task[str] | None = None
        self.draining = False

    async def answer(self, http: BaseRequest, record: RequestRecord) -> Answer | None:
        """See ``Room``. ``/`` is what load balancers and Consul ask by default."""
        if record.path not in ("/", "/healthz", "/readyz") or http.method not in ("GET", "HEAD"):
            return None
        why = await self._not_ready() if record.path == "/readyz" else ""
        if why:
            return Answer(503, (_TEXT, ("Retry-After", "5")), f"{why}\n".encode())
        return Answer(200, (_TEXT,), b"ok\n")

    async def _not_ready(self) -> str:
        if self.draining:
            return "shutting down"
        # Anybody may ask: however many do at once, the store is asked once.
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())
        return await asyncio.shield(self._looking)

    async def _look(self) -> str:
        try:
            async with asyncio.timeout(self._seconds):
                await self._store.stat(f"{keys.UPLOADS}readiness")
        except NotFound:
            return ""
        except (StorageError, TimeoutError):
            return "the object store does not answer"
        return ""
