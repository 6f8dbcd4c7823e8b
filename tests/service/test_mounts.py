"""What is mounted at once by one record: held like a member, and made one before it matters."""

import asyncio
from contextlib import suppress
from itertools import count

import pytest

from registry.service.backup.held import Held
from registry.service.collection.mark import MarkRecord
from registry.service.derivations import Source
from registry.service.entries import Entries
from registry.service.memberships import Memberships
from registry.service.mounts import every_mounted, mounted
from registry.service.pointers import Pointers
from registry.service.records import Corrupt, MountRecord
from registry.service.scrub.scrubber import Scrubber
from registry.service.settling import Settling
from registry.spec.digest import Digest
from registry.spec.errors import BlobUnknown, ManifestUnknown
from registry.spec.life import Life
from registry.spec.names import Tag
from storage import keys
from storage.inprocess import InProcessCoordinator
from storage.memory import MemoryStore
from storage.testing import Crash, FaultyStore
from tests.service.collection import (
    BLOBS,
    CONFIG,
    GRACE,
    IMAGE,
    LAYER,
    V1,
    A,
    B,
    Clock,
    Registry,
)

BIG = BLOBS[0]


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


@pytest.fixture(params=[True, False], ids=["exact", "late"])
def registry(clock, request):
    return Registry(clock, exact=request.param)


async def pushed(registry) -> None:
    """An image is in A, and collectors may work."""
    assert await registry.marker().begin()
    await registry.push()


async def derive(registry, target=B, tag=V1) -> None:
    await registry.services.derivations.derive(Source(A, V1), target, tag, "me")


def settling(registry, store=None) -> Settling:
    store = store or registry.store
    entries = Entries(store, exact=registry.exact)
    return Settling(
        store, registry.coordinator, entries, registry.services.candidates, registry.terms
    )


def members(registry) -> Memberships:
    return Memberships(registry.store, Entries(registry.store, exact=True), registry.terms)


async def test_what_is_derived_is_held_by_one_record_until_it_is_settled(registry):
    await pushed(registry)
    await derive(registry)
    assert await mounted(registry.store, B) == set(BLOBS)
    assert not await registry.keys(keys.members_of(B))
    assert len(await registry.keys(keys.holders(BIG))) == 1
    assert await registry.pulls(B)
    await settling(registry).everything()
    assert not await registry.keys(keys.MOUNTS)
    assert len(await registry.keys(keys.members_of(B))) == len(BLOBS)
    assert await registry.pulls(B)


async def test_a_process_that_knew_of_no_record_sees_one_at_once(clock):
    """It was asked before; then another process derives, settles, and deletes."""
    registry = Registry(clock)
    other = registry.over(registry.store)
    await pushed(registry)
    for _ in range(2):
        assert not await other.holds(LAYER, B)
    await derive(registry)
    assert await other.holds(LAYER, B)
    await settling(registry).settle(B)
    assert await other.holds(LAYER, B)
    await registry.services.blobs.delete(B, BIG)
    assert not await other.holds(LAYER, B)


async def test_it_outlives_all_that_it_was_derived_from(registry):
    await pushed(registry)
    await derive(registry)
    await registry.delete(A)
    await registry.empty()
    assert await registry.pulls(B)
    assert not await registry.holds(LAYER, A)
    await registry.delete(B)
    await registry.empty()
    assert not await registry.keys("blobs/", "refs/", "data/", keys.MOUNTS)


async def test_a_look_at_what_is_due_tells_of_none_of_it_and_writes_nothing(registry):
    await pushed(registry)
    await derive(registry)
    await registry.services.candidates.add(A, members=BLOBS, pointers=BLOBS)
    await registry.delete(A)
    await registry.store.delete(keys.reference(BIG, A))
    await registry.store.delete(keys.blob(A, BIG))
    before = await registry.keys()
    await registry.collect(look=True)
    await registry.marker().mark(look=True)
    assert await registry.keys() == before
    assert await mounted(registry.store, B) == set(BLOBS)
    assert not [each for each in registry.findings if each.name == BIG and each.kind == "blob"]


async def test_a_full_mark_makes_members_of_it(registry):
    await pushed(registry)
    await derive(registry)
    await registry.delete(A)
    await registry.marker().mark()
    assert not await registry.keys(keys.MOUNTS)
    await registry.empty()
    assert await registry.pulls(B)


async def test_a_blob_that_is_deleted_is_gone_and_the_others_stay(registry):
    await pushed(registry)
    await derive(registry)
    await registry.services.blobs.delete(B, BIG)
    assert not await registry.holds(LAYER, B)
    assert await registry.holds(CONFIG, B)
    await derive(registry)
    assert await registry.pulls(B), "the later derivation brings it back"
    await registry.empty()
    assert await registry.pulls(B)


@pytest.mark.parametrize("when", ["before", "after", "half"])
async def test_settling_may_break_off_anywhere(clock, when):
    for number in count(1):
        registry = Registry(clock)
        await pushed(registry)
        await derive(registry)
        store = FaultyStore(registry.store)
        store.crash(number, when=when)
        try:
            await settling(registry, store).everything()
        except Crash:
            assert await registry.pulls(B)
        await settling(registry).everything()
        assert len(await registry.keys(keys.members_of(B))) == len(BLOBS)
        assert await registry.pulls(B)
        if store.total < number:
            assert number > 8
            break


async def test_a_second_image_joins_the_record(registry):
    await pushed(registry)
    await derive(registry)
    await registry.push(A, body=IMAGE + b" ", blobs=(LAYER, CONFIG))
    other = Registry(registry.clock, registry.store, registry.coordinator, exact=registry.exact)
    await derive(other, tag=Tag("v2"))
    record = MountRecord.decode((await registry.store.get(keys.mounted(B))).data)
    assert set(record.blobs) == set(BLOBS)
    assert len(record.manifests) == 2


async def test_what_a_derivation_left_that_broke_off_is_collected(clock):
    for number in count(1):
        inner = MemoryStore()
        registry = Registry(clock, inner)
        await pushed(registry)
        store = FaultyStore(inner)
        store.crash(number)
        with suppress(Crash):
            await derive(registry.over(store))
        if store.total < number:
            assert number > 10
            break
        for place in (A, B):
            with suppress(ManifestUnknown):
                await registry.delete(place)
        await registry.empty()
        assert not await registry.keys("blobs/", "refs/", "data/", keys.MOUNTS), number


async def test_too_many_for_one_record_are_mounted_one_by_one(registry, monkeypatch):
    monkeypatch.setattr("registry.service.mounts.MOST", 1)
    await pushed(registry)
    await derive(registry)
    assert not await registry.keys(keys.MOUNTS)
    assert await registry.pulls(B)


async def test_what_becomes_of_it_is_told_as_of_a_member(registry):
    await pushed(registry)
    await derive(registry)
    assert (await registry.services.standing.of(B, BIG)).life is Life.LIVE
    with pytest.raises(BlobUnknown):
        await registry.services.standing.of(B, Digest.of(b"none"))


async def test_a_blob_that_is_damaged_is_remembered_nowhere(clock):
    registry = Registry(clock)
    await pushed(registry)
    await derive(registry)
    other = registry.over(registry.store)
    assert await other.holds(LAYER, B)
    pointer, _, _ = await Pointers(registry.store, registry.terms).read(BIG)
    await registry.store.delete(pointer.data)
    async with registry.store.append(pointer.data, "") as writer:
        await writer.write(b"?" * len(LAYER))
        await writer.finish()
    await Scrubber(registry.store, registry.coordinator, registry.terms, lambda _: None).scrub()
    assert not await other.holds(LAYER, B)


async def test_a_backup_has_it(registry):
    await pushed(registry)
    await derive(registry)

    class Pool:
        async def holds(self, digest):
            return False

    held = Held(registry.store, Pool(), members(registry), registry.terms, None, lambda *_: None)
    assert await held.promise(B, BIG)
    assert not await held.promise(B, Digest.of(b"none"))


async def test_a_release_that_does_not_settle_collects_nothing(registry):
    class Before(MarkRecord.__bases__[0], frozen=True):
        since: float = 0.0
        after: str = ""
        reads: bool = False

    await registry.store.put(keys.MARK, Before(reads=True).encode())
    assert await registry.marker().begin()
    with pytest.raises(Corrupt):
        Before.decode((await registry.store.get(keys.MARK)).data)


async def test_a_record_that_can_not_be_read_keeps_all_from_being_collected(registry):
    await pushed(registry)
    await registry.store.put(keys.mounted(B), b"of a newer release")
    with pytest.raises(Corrupt):
        [each async for each in every_mounted(registry.store)]
    await registry.delete(A)
    registry.clock.ahead += 10 * GRACE
    with pytest.raises(Corrupt):
        await registry.collect()


async def test_many_who_ask_for_the_layers_of_an_image_look_for_its_record_once(clock):
    store = FaultyStore(MemoryStore())
    registry = Registry(clock, store)
    await pushed(registry)
    await derive(registry)
    calls = []
    step = store.step

    async def noted(method, key, call, half=None):
        calls.append((method, key))
        await asyncio.sleep(0)
        return await step(method, key, call, half)

    store.step = noted
    fresh = Registry(clock, store, InProcessCoordinator()).services.blobs
    found = await asyncio.gather(*(fresh.find(B, each) for each in BLOBS * 20))
    assert {each.digest for each in found} == set(BLOBS)
    assert calls.count(("get", keys.mounted(B))) == 1
