"""Quotas where calls fail, processes die, and many do everything at once.

At no moment is more stored than is paid for, nor than the limits; and once everybody is gone, a
count finds exactly what is there, and gives the rest back.
"""

import asyncio
import random
from contextlib import nullcontext, suppress
from dataclasses import replace
from itertools import count

import pytest

from registry.service.intake import Chunk
from registry.service.records import UploadRecord
from registry.spec.conditions import Conditions
from registry.spec.digest import Digest
from registry.spec.errors import NameUnknown, QuotaExceeded, RegistryError
from registry.spec.names import Tag
from registry.spec.quota import Limits
from registry.spec.upload import State
from storage import keys
from storage.inprocess import InProcessCoordinator
from storage.memory import MemoryStore
from storage.ports import StorageError, Unavailable
from storage.testing import Crash, FaultyStore
from tests.service.content import chunk, image, push
from tests.service.quotas import (
    OTHER,
    PROJECT,
    QUICK,
    REPOSITORY,
    Jittery,
    account,
    limited,
    paid,
    process,
    push_blob,
    truth,
)

LAYER, CONFIG, THIRD = b"layer" * 30_000, b"{}", b"third" * 20_000
FIRST, SECOND = image(LAYER, config=CONFIG), image(LAYER, THIRD, config=CONFIG)
V1, V2 = Tag("v1"), Tag("v2")
ELSEWHERE = "elsewhere"
"""A project that is counted beside, and before, the one that the tests look at."""


async def life(services) -> None:
    """Push in parts, again, mount, tag, cancel, delete; each step may have been made before."""
    uploads, manifests = services.uploads, services.manifests
    session = (await uploads.start(REPOSITORY, "me")).session
    await uploads.append(REPOSITORY, session, "me", chunk(LAYER[:99_999]))
    await uploads.finish(REPOSITORY, session, "me", Digest.of(LAYER), chunk(LAYER[99_999:]))
    await push_blob(services, CONFIG)
    await push_blob(services, THIRD)
    await services.blobs.mount(OTHER, Digest.of(LAYER), REPOSITORY)
    await manifests.put(REPOSITORY, push(FIRST, V1), "me")
    await manifests.put(REPOSITORY, push(SECOND, V2), "me")
    session = (await uploads.start(REPOSITORY, "me")).session
    await uploads.append(REPOSITORY, session, "me", chunk(THIRD))
    await uploads.cancel(REPOSITORY, session, "me")
    session = (await uploads.start(REPOSITORY, "me")).session
    await uploads.append(REPOSITORY, session, "me", chunk(LAYER))
    await uploads.finish(REPOSITORY, session, "me", Digest.of(LAYER), chunk(b""))
    with suppress(RegistryError):
        await services.deletions.delete(REPOSITORY, V1, Conditions())
    with suppress(RegistryError):
        await services.deletions.delete(REPOSITORY, Digest.of(SECOND), Conditions())
    with suppress(NameUnknown):
        await services.repositories.delete(REPOSITORY, "me")
    await manifests.put(REPOSITORY, push(FIRST, V1), "me")
    await services.quotas.settle()
    await services.quotas.settle()


async def count_all(store) -> None:
    """Whoever counts when all that anybody held is over finds what is there, and nothing else."""
    ahead = 2 * (QUICK.life + QUICK.margin)
    late = process(store, terms=replace(QUICK, clock=lambda: QUICK.clock() + ahead))
    await late.uploads.drop_of(PROJECT)
    await late.quotas.settle(close=True)
    counted = await late.quotas.counting.of(PROJECT)
    assert counted is not None
    assert not any(share.held for share in counted.account.shares.values())
    assert counted.account.total == truth(store) == paid(store)


async def begun() -> MemoryStore:
    store = MemoryStore()
    await limited(store, bytes=10_000_000, repositories=9, tags=9)
    return store


@pytest.mark.parametrize("when", ["before", "after", "half"])
async def test_a_call_that_fails_leaves_nothing_unpaid(when):
    for n in count(1):
        inner = await begun()
        store = FaultyStore(inner)
        store.fail(n, when=when)
        services = process(store)
        with suppress(Unavailable):
            await life(services)
        if store.total < n:
            break
        assert paid(inner).covers(truth(inner)), f"call {n}: {store.log[n - 1]}"
        await life(services)
        assert paid(inner).covers(truth(inner)), f"call {n}: {store.log[n - 1]}"
        await count_all(inner)
    assert n > 80


@pytest.mark.parametrize("when", ["before", "after", "half"])
async def test_a_process_that_dies_leaves_nothing_unpaid_and_its_share_comes_back(when):
    for n in count(1):
        inner = await begun()
        store = FaultyStore(inner)
        store.crash(n, when=when)
        with suppress(Crash):
            await life(process(store))
        died = f"call {n}: {store.log[n - 1] if store.total >= n else None}"
        assert paid(inner).covers(truth(inner)), died
        await life(process(inner))
        assert paid(inner).covers(truth(inner)), died
        await count_all(inner)
        if store.total < n:
            break
    assert n > 80


OPERATIONS = (
    *("push", "push", "parts", "parts", "mount", "tag", "tag"),
    *("untag", "delete", "cancel", "wipe"),
)


class Client:
    """Does things at random, and lets them fail."""

    def __init__(self, services, chance: random.Random) -> None:
        self.services = services
        self.chance = chance
        self.refused = 0

    async def run(self, times: int) -> None:
        for _ in range(times):
            try:
                await getattr(self, self.chance.choice(OPERATIONS))()
            except QuotaExceeded:
                self.refused += 1
            except (RegistryError, StorageError):
                pass

    def blob(self) -> bytes:
        number = self.chance.randrange(8)
        return bytes([number]) * (20_000 + number * 17_000)

    async def push(self) -> None:
        await push_blob(self.services, self.blob(), self.chance.choice([REPOSITORY, OTHER]))

    async def parts(self) -> None:
        data, uploads = self.blob(), self.services.uploads
        session = (await uploads.start(REPOSITORY, "me")).session
        cut = self.chance.randrange(1, len(data))
        await uploads.append(REPOSITORY, session, "me", chunk(data[:cut]))
        if self.chance.random() < 0.8:
            await uploads.finish(REPOSITORY, session, "me", Digest.of(data), chunk(data[cut:]))

    async def mount(self) -> None:
        await self.services.blobs.mount(OTHER, Digest.of(self.blob()), REPOSITORY)

    async def tag(self) -> None:
        data = self.blob()
        await push_blob(self.services, data)
        await push_blob(self.services, CONFIG)
        name = Tag(f"v{self.chance.randrange(6)}")
        await self.services.manifests.put(REPOSITORY, push(image(data), name), "me")

    async def untag(self) -> None:
        name = Tag(f"v{self.chance.randrange(6)}")
        await self.services.deletions.delete(REPOSITORY, name, Conditions())

    async def delete(self) -> None:
        digest = Digest.of(image(self.blob()))
        await self.services.deletions.delete(REPOSITORY, digest, Conditions())

    async def wipe(self) -> None:
        await self.services.repositories.delete(REPOSITORY, "me")

    async def cancel(self) -> None:
        uploads = self.services.uploads
        session = (await uploads.start(REPOSITORY, "me")).session
        await uploads.append(REPOSITORY, session, "me", chunk(self.blob()))
        await uploads.cancel(REPOSITORY, session, "me")


@pytest.mark.parametrize("seed", range(4))
async def test_whatever_many_do_at_once_no_more_is_stored_than_fits(seed):
    """Three processes, several clients each, a counter without pause; every other time, faults."""
    chance = random.Random(seed)  # noqa: S311
    inner, coordinator = MemoryStore(), InProcessCoordinator()
    limits = Limits(bytes=400_000, repositories=2, tags=4)
    await limited(inner, bytes=400_000, repositories=2, tags=4)
    await process(inner).quotas.begin(ELSEWHERE, limits)
    stores = [Jittery(inner, chance, limits) for _ in range(3)]
    for each in stores:
        each.broken = 0.02 if seed % 2 else 0.0
    processes = [process(each, coordinator) for each in stores]
    running = [asyncio.create_task(each.quotas.run()) for each in processes]
    clients = [Client(each, chance) for each in processes for _ in range(3)]

    def fails(_project: str, error: Exception) -> None:
        raise error

    async def recount() -> None:
        while True:
            await asyncio.sleep(0.05)
            with suppress(StorageError):
                async for _ in processes[0].quotas.counting.all_of([PROJECT, ELSEWHERE], fails):
                    pass

    running.append(asyncio.create_task(recount()))
    async with asyncio.timeout(60):
        await asyncio.gather(*(each.run(9) for each in clients))
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    assert sum(each.refused for each in clients) > 0
    for each in stores:
        each.broken = 0.0
    for each in processes:
        await each.quotas.settle(close=True)
    await count_all(inner)


async def test_what_fits_is_not_refused_because_others_hold_what_they_do_not_need():
    """One process has taken more than it needs; another one needs what is left, to the byte."""
    inner = MemoryStore()
    await limited(inner, bytes=1_000_000)
    one, two = process(inner), process(inner)
    running = [asyncio.create_task(each.quotas.run()) for each in (one, two)]
    await push_blob(one, b"x" * 100_000)
    held = (await account(two)).total.bytes
    assert held > 100_000
    await push_blob(two, b"y" * 900_000)
    for task in running:
        task.cancel()
    assert (await account(one)).total.bytes == 1_000_000


async def test_of_three_pushes_into_what_is_left_all_fit_that_can():
    """harbor: with 100 left, of 70, 90 and 20 at once either 70 and 20 get in, or 90."""
    inner = MemoryStore()
    await limited(inner, bytes=100_000)
    processes = [process(inner) for _ in range(3)]
    running = [asyncio.create_task(each.quotas.run()) for each in processes]
    results = await asyncio.gather(
        *(
            push_blob(each, bytes([size]) * (size * 1000))
            for each, size in zip(processes, (70, 90, 20), strict=True)
        ),
        return_exceptions=True,
    )
    for task in running:
        task.cancel()
    stored = sum(size for size, result in zip((70, 90, 20), results, strict=True) if not result)
    assert stored == 90
    assert all(isinstance(each, QuotaExceeded) for each in results if each)


async def test_a_finish_that_is_repeated_by_another_process_pays_once_and_gives_nothing_back():
    """The first one died when it had made the blob: the session's bytes are the blob's now."""
    inner = await begun()
    store = FaultyStore(inner)
    one, two, digest = process(store), process(inner), Digest.of(LAYER)
    session = (await one.uploads.start(REPOSITORY, "me")).session
    await one.uploads.append(REPOSITORY, session, "me", chunk(LAYER))
    await one.quotas.settle()
    store.crash(1, "delete")
    with pytest.raises(Crash):
        await one.uploads.finish(REPOSITORY, session, "me", digest, chunk(b""))
    await two.uploads.finish(REPOSITORY, session, "me", digest, chunk(b""))
    await two.quotas.settle(close=True)
    assert paid(inner).covers(truth(inner))
    await count_all(inner)


@pytest.mark.parametrize("size", [3_000_000, 300_000], ids=["written", "held"])
async def test_an_end_that_is_repeated_and_breaks_off_gives_nothing_back(size):
    """The first one died when it had made the blob; the next one lost its client half-way."""
    inner, rest = MemoryStore(), b"r" * (size // 8)
    await limited(inner, bytes=2 * size - size // 4)
    store, data = FaultyStore(inner), b"d" * size + rest
    one, two, three = process(store), process(inner), process(inner)
    session = (await one.uploads.start(REPOSITORY, "me")).session
    await one.uploads.append(REPOSITORY, session, "me", chunk(data[:size]))
    store.crash(1, "delete")
    with pytest.raises(Crash):
        await one.uploads.finish(REPOSITORY, session, "me", Digest.of(data), chunk(rest))
    marked = UploadRecord.decode((await inner.get(keys.upload(session))).data)
    assert marked.state is State.FINISHING

    async def broken():
        yield rest[:100]
        raise ConnectionResetError

    last = Chunk(broken(), len(rest), None)
    with pytest.raises(ConnectionResetError):
        await two.uploads.finish(REPOSITORY, session, "me", Digest.of(data), last)
    record = UploadRecord.decode((await inner.get(keys.upload(session))).data)
    assert (record.state, record.owner) == (marked.state, marked.owner)
    assert record.offset == size + 100
    await two.quotas.settle()
    await three.uploads.finish(REPOSITORY, session, "me", Digest.of(data), chunk(rest[100:]))
    await three.quotas.settle(close=True)
    assert truth(inner).bytes == len(data)
    assert paid(inner).covers(truth(inner))
    await count_all(inner)


@pytest.mark.parametrize("whole", [True, False])
async def test_an_end_that_is_repeated_needs_no_room_where_nothing_is_left(whole):
    """Its answer was lost, or its process died before it had forgotten the session."""
    inner, size = MemoryStore(), 3_000_000
    data = b"d" * size
    await limited(inner, bytes=size)
    store = FaultyStore(inner)
    one, two = process(store), process(inner)
    session = (await one.uploads.start(REPOSITORY, "me")).session
    await one.uploads.append(REPOSITORY, session, "me", chunk(data[:-9]))
    if not whole:
        store.crash(1, "delete")
    with nullcontext() if whole else pytest.raises(Crash):
        await one.uploads.finish(REPOSITORY, session, "me", Digest.of(data), chunk(data[-9:]))
    with suppress(Crash):
        await one.quotas.settle(close=True)
    blob = await two.uploads.finish(REPOSITORY, session, "me", Digest.of(data), chunk(data[-9:]))
    assert blob.size == size
    assert not await inner.list(keys.UPLOADS)
    with pytest.raises(QuotaExceeded):
        other = (Digest.of(data), chunk(data))
        await two.uploads.upload(REPOSITORY, "me", *other)
    await two.quotas.settle(close=True)
    assert paid(inner).covers(truth(inner))
    await count_all(inner)


async def test_what_is_pushed_behind_the_back_of_a_count_counts():
    """A blob comes when its repository has been listed, and is settled before the count ends."""
    inner = await begun()
    store = FaultyStore(inner)
    counter, pusher = process(store), process(inner)
    await push_blob(pusher, CONFIG)
    await pusher.quotas.settle(close=True)
    # The lists of uploads, of what is mounted, of the root repository, of those below it; then of
    # the catalog.
    gate = store.gate(5, "list")
    counting = asyncio.create_task(counter.quotas.counting.of(PROJECT))
    await gate.reached.wait()
    await push_blob(pusher, LAYER)
    await pusher.quotas.settle(close=True)
    gate.open()
    counted = await counting
    assert counted is not None
    assert counted.account.due
    assert paid(inner) == truth(inner) == counted.account.total


async def test_what_is_removed_while_it_is_counted_is_given_back_by_the_next_count():
    inner = await begun()
    store = FaultyStore(inner)
    counter, other = process(store), process(inner)
    await push_blob(other, CONFIG)
    await push_blob(other, LAYER)
    await other.manifests.put(REPOSITORY, push(image(LAYER, config=CONFIG), V1), "me")
    await other.quotas.settle(close=True)
    whole = truth(inner)
    gate = store.gate(5, "list")
    counting = asyncio.create_task(counter.quotas.counting.of(PROJECT))
    await gate.reached.wait()
    await other.deletions.delete(REPOSITORY, V1, Conditions())
    await other.quotas.settle(close=True)
    gate.open()
    await counting
    assert paid(inner) == whole
    assert (await account(other)).due
    await count_all(inner)
    assert paid(inner).tags == 0
