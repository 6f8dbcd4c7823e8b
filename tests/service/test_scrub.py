"""The scrubber: bytes that are not what their digest says are found, kept from clients, mended."""

import asyncio
from contextlib import suppress

import pytest

from registry.service.records import Pointer
from registry.service.scrub.scrubber import Found, Scrubber
from registry.service.throttle import Throttle
from registry.spec.errors import BlobUnknown, ManifestUnknown
from storage import keys
from storage.coordination import LeaseHeld
from storage.memory import MemoryStore
from storage.ports import Unavailable
from storage.testing import FaultyStore
from tests.service.collection import (
    BLOBS,
    CONFIG,
    DIGEST,
    IMAGE,
    LAYER,
    A,
    B,
    Clock,
    Registry,
)

BIG, SMALL = BLOBS


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


@pytest.fixture
def registry(clock):
    return Registry(clock, FaultyStore(MemoryStore()))


class Scrub:
    """Scrubs, and keeps what it was told."""

    def __init__(self, registry, **options):
        self.told = []
        self.scrubber = Scrubber(
            registry.store, registry.coordinator, registry.terms, self.told.append, **options
        )

    async def run(self):
        done = await self.scrubber.scrub()
        return done, [(each.digest, each.found) for each in self.told]


async def data_key(store, digest=BIG):
    return Pointer.unpack((await store.get(keys.pointer(digest))).data)[0].data


async def spoil(store, digest):
    """Change a bit of what is stored, as a disk does."""
    key = keys.manifest(A, digest) if digest == DIGEST else keys.pointer(digest)
    stored = await store.get(key)
    data = await data_key(store, digest) if digest != DIGEST else ""
    if data:
        key, stored = data, await store.get(data)
    bad = stored.data[:-1] + bytes([stored.data[-1] ^ 1])
    if data:
        await store.delete(key)
        async with store.append(key, "") as writer:
            await writer.write(bad)
            await writer.finish()
    else:
        await store.put(key, bad)


async def test_what_is_right_is_left_and_counted(registry):
    await registry.push()
    before = await registry.keys()
    done, told = await Scrub(registry).run()
    assert told == []
    assert (done.looked, done.damaged, done.after) == (3, 0, "")
    assert done.bytes >= len(LAYER) + len(CONFIG) + len(IMAGE)
    assert await registry.keys() == before


@pytest.mark.parametrize("digest", [BIG, SMALL])
async def test_a_damaged_blob_is_served_to_nobody_and_a_push_mends_it(registry, digest):
    await registry.push()
    assert await registry.holds(LAYER if digest == BIG else CONFIG)  # remembered, too
    await spoil(registry.store, digest)
    done, told = await Scrub(registry).run()
    assert (told, done.damaged) == ([(digest, Found.QUARANTINED)], 1)
    for process in (registry, registry.over(registry.store)):
        with pytest.raises(BlobUnknown):
            await process.services.blobs.find(A, digest)
    assert (await Scrub(registry).run())[1] == [(digest, Found.QUARANTINED)], "it still is"
    bad = await data_key(registry.store, digest)
    await registry.upload(LAYER if digest == BIG else CONFIG)
    assert await registry.pulls()
    assert not bad or bad not in await registry.keys("data/")
    assert (await Scrub(registry).run())[1] == []


async def test_bytes_that_are_gone_or_too_short_are_found_too(registry):
    await registry.push()
    await registry.store.delete(await data_key(registry.store))
    _, told = await Scrub(registry).run()
    assert told == [(BIG, Found.QUARANTINED)]
    await registry.upload(LAYER)
    key = await data_key(registry.store)
    await registry.store.delete(key)
    async with registry.store.append(key, "") as writer:
        await writer.write(LAYER[:-1])
        await writer.finish()
    scrub = Scrub(registry)
    assert (await scrub.run())[1] == [(BIG, Found.QUARANTINED)]
    assert "bytes, not" in scrub.told[0].reason
    await registry.upload(LAYER)
    assert await registry.pulls()


async def test_a_damaged_pointer_is_kept_aside_and_a_push_mends_it(registry):
    await registry.push()
    await registry.store.put(keys.pointer(BIG), b"{damaged")
    assert (await Scrub(registry).run())[1] == [(BIG, Found.QUARANTINED)]
    with pytest.raises(BlobUnknown):
        await registry.over(registry.store).services.blobs.find(A, BIG)
    await registry.upload(LAYER)
    assert await registry.pulls()


async def test_a_damaged_manifest_is_kept_aside_and_a_push_mends_it(registry):
    await registry.push()
    await registry.services.manifests.get(A, DIGEST)  # remembered
    await spoil(registry.store, DIGEST)
    assert (await Scrub(registry).run())[1] == [(DIGEST, Found.QUARANTINED)]
    assert await registry.store.get(keys.damaged(A, DIGEST))
    for process in (registry, registry.over(registry.store)):
        with pytest.raises(ManifestUnknown):
            await process.services.manifests.get(A, DIGEST)
    await registry.push(blobs=())
    assert await registry.pulls()


@pytest.mark.parametrize("digest", [BIG, SMALL, DIGEST])
async def test_a_second_store_mends_what_is_damaged(registry, clock, digest):
    copy = Registry(clock)
    for each in (registry, copy):
        await each.push()
    await spoil(registry.store, digest)
    assert (await Scrub(registry, second=copy.store).run())[1] == [(digest, Found.REPAIRED)]
    assert await registry.pulls()
    assert (await Scrub(registry).run())[1] == []
    assert len(await registry.keys("data/")) == 1


@pytest.mark.parametrize("digest", [BIG, SMALL, DIGEST])
async def test_a_second_store_that_is_damaged_too_mends_nothing(registry, clock, digest):
    copy = Registry(clock)
    for each in (registry, copy):
        await each.push()
        await spoil(each.store, digest)
    assert (await Scrub(registry, second=copy.store).run())[1] == [(digest, Found.QUARANTINED)]
    assert len(await registry.keys("data/")) == 1


async def test_what_is_in_quarantine_is_mended_when_a_second_store_has_it_later(registry, clock):
    copy = Registry(clock)
    await registry.push()
    await spoil(registry.store, BIG)
    await Scrub(registry, second=copy.store).run()
    await copy.push()
    assert (await Scrub(registry, second=copy.store).run())[1] == [(BIG, Found.REPAIRED)]
    assert await registry.pulls()


async def test_what_can_not_be_read_now_is_told_and_left(registry):
    await registry.push()
    registry.store.fail(method="open")
    _, told = await Scrub(registry).run()
    assert told == [(BIG, Found.UNREADABLE)]
    assert await registry.pulls()


async def test_with_look_nothing_is_changed(registry):
    await registry.push()
    for digest in (BIG, SMALL, DIGEST):
        await spoil(registry.store, digest)
    before = {
        key: (await registry.store.get(key)).data
        for key in await registry.keys("gc/", "blobs/", "repos/", "data/")
    }
    _, told = await Scrub(registry, look=True).run()
    assert sorted(told) == sorted((each, Found.QUARANTINED) for each in (BIG, SMALL, DIGEST))
    after = {
        key: (await registry.store.get(key)).data
        for key in await registry.keys("gc/", "blobs/", "repos/", "data/")
    }
    assert before == after


async def test_one_that_is_broken_off_goes_on(registry, monkeypatch):
    monkeypatch.setattr("registry.service.scrub.scrubber._SAVE", 1)
    for place in (A, B):
        await registry.push(place)
    whole = (await Scrub(registry).run())[0].looked
    assert whole == 4
    for first in range(1, 30):
        scrub, progress = Scrub(registry), keys.SCRUB
        task = asyncio.create_task(scrub.scrubber.scrub())
        for _ in range(first):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        done = await Scrub(registry).scrubber.scrub()
        assert (done.looked, done.ended > 0) == (whole, True)
        assert await registry.store.get(progress)


async def test_one_at_a_time(registry):
    await registry.push()
    async with registry.coordinator.hold("scrub"):
        with pytest.raises(LeaseHeld):
            await Scrub(registry).run()


async def test_a_quarantined_blob_that_nothing_needs_is_collected(registry):
    assert await registry.marker().begin()
    await registry.push()
    await spoil(registry.store, BIG)
    await Scrub(registry).run()
    await registry.delete()
    await registry.empty()
    assert await registry.keys("data/", "blobs/", "refs/") == []


async def test_faults_at_every_call_leave_nothing_wrong(clock):
    for nth in range(1, 60):
        for when in ("before", "after"):
            registry = Registry(clock, FaultyStore(MemoryStore()))
            copy = Registry(clock)
            for each in (registry, copy):
                await each.push()
            await registry.services.blobs.find(A, BIG)
            await spoil(registry.store, BIG)
            calls = registry.store.total
            registry.store.fail(nth, when=when)
            with suppress(Unavailable):
                await Scrub(registry, second=copy.store).run()
            if registry.store.total - calls < nth:
                return
            await Scrub(registry, second=copy.store).run()
            assert await registry.pulls(), (nth, when)
            blob = await registry.services.blobs.find(A, BIG)
            assert blob.data == await data_key(registry.store), "a process remembers the bad bytes"
    raise AssertionError("there is no end to it")


async def test_the_rate_is_kept():
    loop = asyncio.get_running_loop()
    throttle, began = Throttle(per_second=1_000_000.0, burst=1.0), loop.time()
    for _ in range(13):
        await throttle.wait(100_000)
    took = loop.time() - began
    assert 0.2 < took < 30, "1.3 s of bytes, of which a second's came at once"
