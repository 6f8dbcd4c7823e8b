"""Collecting costs as much as is collected, however much is stored beside it.

For a million blobs, of which a tenth is collected (about ten minutes, 6 GB of memory)::

    MOORAGE_COST_BLOBS=1000000 MOORAGE_COST_COLLECTED=100000 \
        .venv/bin/pytest -s tests/service/test_collection_cost.py --timeout=3600
"""

import asyncio
import os
import time
from collections import Counter

from registry.service.collection.collector import Collector
from registry.service.services import Services
from registry.service.terms import Terms
from registry.spec.conditions import Conditions
from registry.spec.digest import Digest
from registry.spec.names import Place
from storage import keys
from storage.inprocess import InProcessCoordinator
from storage.memory import MemoryStore
from storage.s3 import S3Store
from tests.fixtures.stores import settings_of
from tests.service.collection import GRACE, Clock, Registry
from tests.service.content import image

BLOBS = int(os.environ.get("MOORAGE_COST_BLOBS", "5000"))
COLLECTED = int(os.environ.get("MOORAGE_COST_COLLECTED", "500"))
LAYERS, IMAGES = 9, 100
"""Layers of an image, beside its config; images of a repository."""


class Shards:
    """A store in memory whose keys are cut into small ones: a million cost no more than a few.

    It counts the calls. Nothing is asked for by a prefix that spans two of them, but the queue.
    """

    def __init__(self) -> None:
        self.parts: dict[str, MemoryStore] = {}
        self.calls: Counter[str] = Counter()

    def part(self, key: str) -> MemoryStore:
        top, _, rest = key.partition("/")
        name = {
            "refs": lambda: rest[:11],
            "blobs": lambda: rest[:10],
            "data": lambda: rest[:2],
            "repos": lambda: rest.partition("!")[0],
        }.get(top, str)()
        return self.parts.setdefault(f"{top}/{name}", MemoryStore())

    def __getattr__(self, method):
        if method.startswith("_"):
            raise AttributeError(method)

        async def call(key, *arguments, **named):
            self.calls[method] += 1
            return await getattr(self.part(key), method)(key, *arguments, **named)

        return call

    async def put_all(self, *steps, settled=True):
        for step in steps:
            for key, data in step:
                self.calls["put"] += 1
                await self.part(key).put(key, data)


def layer(number: int) -> tuple[bytes, Digest]:
    data = b"%d" % number
    return data, Digest.of(data)


async def fill(write, blobs: int, collected: int) -> list[tuple[Place, Digest]]:
    """Images of blobs of their own, as they are stored; the first ``collected`` blobs' images."""
    first = []
    for number in range(blobs // (LAYERS + 1)):
        place = Place(f"project/{number // IMAGES}")
        contents = [layer(number * (LAYERS + 1) + each) for each in range(LAYERS + 1)]
        body = image(*[data for data, _ in contents[1:]], config=contents[0][0])
        digest = Digest.of(body)
        media_type = b"application/vnd.oci.image.manifest.v1+json"
        items = [(keys.manifest(place, digest), media_type + b"\n" + body)]
        for data, blob in contents:
            items += [
                (keys.pointer(blob), b'{"size":%d}\n%b' % (len(data), data)),
                (keys.reference(blob, place), b"mark"),
                (keys.blob(place, blob), b""),
                (keys.needed(place, blob) + digest, b"mark"),
            ]
        if number % IMAGES == 0:
            items.append((keys.catalog(place), b""))
        await write(items)
        if len(first) < collected // (LAYERS + 1):
            first.append((place, digest))
    return first


async def collect(registry, doomed) -> tuple[int, float, int]:
    """Delete the images and collect; give the looks, the seconds, and the blobs removed."""
    for place, digest in doomed:
        await registry.services.deletions.delete(place, digest, Conditions(), "me")
    looks, began = 0, time.perf_counter()
    for _ in range(4):
        registry.clock.ahead += GRACE
        looks += (await registry.collector().collect()).looks
    removed = {each.name for each in registry.findings if each.kind == "blob" and each.size}
    return looks, time.perf_counter() - began, len(removed)


async def of_memory(clock, blobs: int) -> tuple[Counter, float]:
    store = Shards()

    async def write(items):
        for key, data in items:
            await store.part(key).put(key, data)

    doomed = await fill(write, blobs, COLLECTED)
    registry = Registry(clock, store, window=0.0)
    await store.put(keys.READ, b"")
    clock.ahead += 2 * GRACE
    store.calls.clear()
    _, seconds, removed = await collect(registry, doomed)
    assert removed == COLLECTED
    calls = Counter(store.calls)
    if blobs <= 10_000:
        for place, digest in doomed:
            assert not await registry.store.list(keys.needed(place, digest))
        left = sum([len(part._keys) for name, part in store.parts.items() if "blobs/" in name])
        assert left == blobs - COLLECTED
    return calls, seconds


async def test_calls_grow_with_what_is_collected_and_not_with_what_is_stored(monkeypatch, capsys):
    clock = Clock(monkeypatch)
    few, of_few = await of_memory(clock, 2 * COLLECTED)
    many, of_many = await of_memory(clock, BLOBS)
    with capsys.disabled():
        print(
            f"\n{COLLECTED} blobs collected of {2 * COLLECTED}: {sum(few.values())} calls, "
            f"{of_few:.1f} s; of {BLOBS}: {sum(many.values())} calls, {of_many:.1f} s; for each "
            f"blob: { {name: round(count / COLLECTED, 2) for name, count in many.items()} }"
        )
    lists = many.pop("list"), few.pop("list")  # where pages end is a matter of chance
    assert abs(lists[0] - lists[1]) <= COLLECTED // 5000, lists
    assert many == few
    assert sum(many.values()) < 25 * COLLECTED


def test_requests_to_s3_grow_with_what_is_collected(minio, capsys):
    few, many = (sum(asyncio.run(of_s3(settings_of(minio), blobs)).values()) for blobs in (40, 400))
    with capsys.disabled():
        print(f"\n40 blobs collected of 40: {few} requests to MinIO; of 400: {many}")
    # Requests that a busy machine repeats are a few more; a look at what stays would be 360.
    assert abs(many - few) < 40


async def of_s3(settings, blobs: int) -> Counter:
    told: Counter[str] = Counter()
    ahead = 0.0
    terms = Terms(GRACE, 0.0, lambda: time.time() + ahead)
    store = await S3Store.opened(settings, lambda name, *_: told.update([name]), create=True)
    try:
        doomed = await fill(store.put_all, blobs, 40)
        await store.put(keys.READ, b"")
        exact, coordinator, removed = store.honours.delete, InProcessCoordinator(), set()
        services = Services.over(store, coordinator, files=None, memory=0, exact=exact, terms=terms)
        for place, digest in doomed:
            await services.deletions.delete(place, digest, Conditions(), "me")
        collector = Collector(
            store,
            coordinator,
            services.candidates,
            terms,
            exact=exact,
            report=lambda found: removed.add(found.name) if found.size else None,
        )
        told.clear()
        for _ in range(4):
            ahead += 2 * GRACE
            await collector.collect()
    finally:
        await store.close()
    assert len(removed) == 40
    return told
