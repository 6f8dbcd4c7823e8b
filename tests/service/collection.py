"""A registry, a collector, and a clock that tests put forward."""

import time
from contextlib import suppress

from registry.service.collection.collector import Collector
from registry.service.collection.findings import Finding
from registry.service.collection.mark import Marker
from registry.service.services import Services
from registry.service.terms import Terms
from registry.spec.conditions import Conditions
from registry.spec.digest import Digest
from registry.spec.errors import BlobUnknown
from registry.spec.names import Place, Tag
from storage.inprocess import InProcessCoordinator
from storage.memory import MemoryStore
from tests.service.content import chunk, image, push

GRACE, WINDOW = 1000.0, 5000.0
A, B = Place("project/a"), Place("project/b")
LAYER, CONFIG = b"layer" * 40_000, b"{}"
BLOBS = (Digest.of(LAYER), Digest.of(CONFIG))
IMAGE = image(LAYER)
DIGEST = Digest.of(IMAGE)
V1 = Tag("v1")


class Clock:
    """Unix time, and what measures how long something takes: both move when a test says so."""

    def __init__(self, monkeypatch) -> None:
        self.ahead = 0.0
        monkeypatch.setattr("storage.memory.time", self)
        monkeypatch.setattr("registry.service.entries.time.monotonic", self)

    def __call__(self) -> float:
        return _BEGAN + self.ahead


_BEGAN = time.time()


class Registry:
    """One process over a store, and a collector that works when it is told to."""

    def __init__(
        self,
        clock,
        store=None,
        coordinator=None,
        *,
        window=WINDOW,
        exact=True,
        limited=False,
        memory=1024 * 1024,
    ) -> None:
        self.clock = clock
        self.store = store or MemoryStore()
        self.coordinator = coordinator or InProcessCoordinator()
        self.terms = Terms(GRACE, window, clock, clock)
        self.exact = exact
        self.findings: list[Finding] = []
        self.services = Services.over(
            self.store,
            self.coordinator,
            files=None,
            memory=memory,
            exact=exact,
            terms=self.terms,
            projects=limited,
        )

    def over(self, store) -> "Registry":
        """Another process, whose calls go another way."""
        return Registry(self.clock, store, self.coordinator, exact=self.exact)

    def collector(self, **settings) -> Collector:
        return Collector(
            self.store,
            self.coordinator,
            self.services.candidates,
            self.terms,
            exact=self.exact,
            report=self.findings.append,
            quotas=self.services.quotas,
            **settings,
        )

    def marker(self) -> Marker:
        return Marker(
            self.store,
            self.coordinator,
            self.services.candidates,
            self.terms,
            self.services.tags.histories,
            exact=self.exact,
            report=self.findings.append,
        )

    async def collect(self, *, look=False):
        assert await self.marker().begin()
        return await self.collector().collect(look=look)

    async def pass_time(self, graces: int = 1) -> None:
        """Let time go by with a collector at work."""
        for _ in range(graces):
            await self.services.candidates.flush(everything=True)
            self.clock.ahead += GRACE
            await self.collect()

    async def empty(self) -> None:
        """Let time go by until the collector has nothing left to look at."""
        for _ in range(20):
            await self.pass_time()

    async def upload(self, data, place=A):
        return await self.services.uploads.upload(place, "me", Digest.of(data), chunk(data))

    async def push(self, place=A, body=IMAGE, tag=V1, blobs=(LAYER, CONFIG)) -> None:
        for data in blobs:
            await self.upload(data, place)
        await self.services.manifests.put(place, push(body, tag), "me")

    async def delete(self, place=A, reference=DIGEST) -> None:
        await self.services.deletions.delete(place, reference, Conditions(), "me")

    async def pulls(self, place=A, reference=DIGEST, blobs=(LAYER, CONFIG)) -> bool:
        """Whether the image is whole; a process that remembers nothing reads it."""
        registry = Registry(self.clock, self.store, self.coordinator).services
        stored = await registry.manifests.get(place, reference)
        for data in blobs:
            blob = await registry.blobs.find(place, Digest.of(data))
            async with registry.blobs.open(blob, 0, blob.size) as reader:
                assert b"".join([piece async for piece in reader]) == data
        return stored.data == IMAGE

    async def holds(self, data, place=A) -> bool:
        with suppress(BlobUnknown):
            await self.services.blobs.find(place, Digest.of(data))
            return True
        return False

    async def keys(self, *prefixes) -> list[str]:
        """What is there, but for what deleted tags were: that stays for its time."""
        found = []
        for prefix in prefixes or ("data/", "blobs/", "refs/", "repos/", "gc/due/", "uploads/"):
            found += await self.store.list(prefix, limit=1_000_000)
        return [key for key in found if "!/history/" not in key]
