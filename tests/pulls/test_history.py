"""The pull history: no pull is counted twice, and only a crash loses some."""

import asyncio
from collections import Counter
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.service import throttle
from registry.service.pulls import compactor as compaction
from registry.service.pulls.compactor import Compactor
from registry.service.pulls.history import PullHistory, flushing
from registry.service.pulls.tally import Tallies
from registry.spec.digest import Digest
from registry.spec.names import Place, Tag
from storage import keys
from storage.coordination import LeaseHeld
from storage.inprocess import InProcessCoordinator
from storage.memory import MemoryStore
from storage.ports import Unavailable

APP, ENV = Place("t1/app"), Place("t2")
ONE, TWO = Digest.of(b"1"), Digest.of(b"2")
REFERENCES = (Tag("v1"), Tag("latest"), ONE)


class Clock:
    now = 1_700_000_000.0

    def __call__(self):
        self.now += 1
        return self.now


def history(store, clock=None, **more):
    made = PullHistory(store, clock=clock or Clock(), **more)
    made.counting = True
    return made


async def test_pulls_are_counted_by_what_was_asked_for():
    store = MemoryStore()
    one = history(store)
    for by in ("user:ann", "robot:demo/ci"):
        one.note(APP, Tag("v1"), ONE, by)
    one.note(APP, ONE, ONE, "anonymous")
    one.note(ENV, Tag("v1"), TWO, "user:bob")
    assert await one.last(APP, Tag("v1")) == 1_700_000_002.0, "before it is flushed"
    assert await one.flush() == 2, "an object for each project"
    assert await Compactor(store, InProcessCoordinator()).compact() == compaction.Merged(2, 3)
    leaf = await one.page(APP, "", 10)
    assert [(each.reference, each.count, each.by, each.digest) for each in leaf.items] == [
        (ONE, 1, "anonymous", ONE),
        ("v1", 2, "robot:demo/ci", ONE),
    ]
    assert await one.last(APP, Tag("v1")) == 1_700_000_002.0
    assert await one.last(APP, Tag("v2")) is None
    assert await one.last(APP, TWO) is None
    assert await store.list(keys.PULLS) == []
    first = await one.page(APP, "", 1)
    assert first.more
    assert [e.reference for e in (await one.page(APP, ONE, 5)).items] == ["v1"]


async def test_the_latest_pull_is_the_last_one_whoever_flushes_it_first():
    store, clock = MemoryStore(), Clock()
    early, late = history(store, clock), history(store, clock)
    early.note(APP, Tag("v1"), ONE, "user:early")
    late.note(APP, Tag("v1"), TWO, "user:late")
    compactor = Compactor(store, InProcessCoordinator())
    for each in (late, early):
        await each.flush()
        await compactor.compact()
    (found,) = (await early.page(APP, "", 10)).items
    assert (found.count, found.by, found.digest, found.last) == (2, "user:late", TWO, 1_700_000_002)


class Breaking(MemoryStore):
    """Fails a write now and then, before or after it took effect."""

    def __init__(self):
        super().__init__()
        self.failures = iter(())

    async def _perhaps(self, write):
        fails = next(self.failures, "")
        if fails == "before":
            raise Unavailable("x", "down")
        answer = await write()
        if fails == "after":
            raise Unavailable("x", "the answer was lost")
        return answer

    async def create(self, key, data, **more):
        return await self._perhaps(lambda: MemoryStore.create(self, key, data, **more))

    async def replace(self, key, data, version, **more):
        return await self._perhaps(lambda: MemoryStore.replace(self, key, data, version, **more))

    async def delete(self, key, **more):
        return await self._perhaps(lambda: MemoryStore.delete(self, key, **more))

    async def put_all(self, *steps, settled=True):
        return await self._perhaps(lambda: MemoryStore.put_all(self, *steps, settled=settled))


@settings(max_examples=80, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.tuples(
                st.just("pull"), st.integers(0, 1), st.sampled_from([APP, ENV]),
                st.sampled_from(REFERENCES),
            ),
            st.tuples(st.just("flush"), st.integers(0, 1)),
            st.tuples(st.just("compact")),
            st.tuples(st.just("wound"), st.lists(st.sampled_from(["", "before", "after"]))),
        ),
        max_size=60,
    )
)  # fmt: skip
def test_whatever_fails_each_pull_counts_once(steps):
    async def run():
        store, clock = Breaking(), Clock()
        processes = [history(store, clock), history(store, clock)]
        compactor = Compactor(store, InProcessCoordinator())
        expected = Counter()
        for what, *given_ in steps:
            if what == "pull":
                process, place, reference = given_
                processes[process].note(place, reference, ONE, "user:ann")
                expected[place, str(reference)] += 1
            elif what == "wound":
                store.failures = iter(given_[0])
            else:
                work = compactor.compact if what == "compact" else processes[given_[0]].flush
                with suppress(Unavailable):
                    await work()
        store.failures = iter(())
        for each in processes:
            while await each.flush():
                pass
        await compactor.compact()
        for place in (APP, ENV):
            found = {e.reference: e.count for e in (await processes[0].page(place, "", 99)).items}
            assert found == {r: n for (p, r), n in expected.items() if p == place}
        assert await store.list(keys.PULLS) == []

    asyncio.run(run())


async def test_a_merge_of_many_batches_is_bounded_and_exact(monkeypatch):
    monkeypatch.setattr(compaction, "PULLS", 50)
    store = MemoryStore()
    one = history(store)
    for _ in range(150):
        for number in range(7):
            one.note(APP, Tag(f"v{number}"), ONE, "user:ann")
        await one.flush()
    done = await Compactor(store, InProcessCoordinator()).compact()
    assert done.batches == 150
    assert {each.count for each in (await one.page(APP, "", 99)).items} == {150}


async def test_a_merge_of_many_tags_leaves_the_store_to_clients(monkeypatch):
    """At any time few of its calls are under way, and half of the time none of each."""
    monkeypatch.setattr(throttle, "LONGEST", 60.0)
    loop = asyncio.get_running_loop()

    class Watched(MemoryStore):
        running = most = 0
        working = 0.0

        async def get(self, key):
            self.running += 1
            self.most = max(self.most, self.running)
            began = loop.time()
            try:
                await asyncio.sleep(0.01)
                return await super().get(key)
            finally:
                self.running -= 1
                self.working += loop.time() - began

    store = Watched()
    one = history(store)
    for number in range(20):
        one.note(APP, Tag(f"v{number}"), ONE, "user:ann")
    await one.flush()
    began = loop.time()
    await Compactor(store, InProcessCoordinator()).compact()
    assert store.most <= 2
    assert loop.time() - began >= store.working, "two at a time, each as long at rest as at work"
    assert len((await one.page(APP, "", 99)).items) == 20


async def test_one_compacts_at_a_time():
    store, coordinator = MemoryStore(), InProcessCoordinator()
    async with coordinator.hold(compaction.LEASE):
        with pytest.raises(LeaseHeld):
            await Compactor(store, coordinator).compact()


async def test_a_batch_of_a_later_version_stays_and_holds_up_nothing(caplog):
    store = MemoryStore()
    one = history(store)
    strange = keys.pull_batch("t1", 1, "0" * 16)
    await store.put(strange, b'{"pulls":[],"later":1}')
    one.note(APP, Tag("v1"), ONE, "user:ann")
    await one.flush()
    await Compactor(store, InProcessCoordinator()).compact()
    assert await store.list(keys.PULLS) == [strange]
    assert (await one.page(APP, "", 9)).items[0].count == 1


def test_memory_is_bounded_and_what_is_known_goes_on_counting():
    tallies, told = Tallies(most=10), []
    tallies.nearly_full = lambda: told.append(1)
    for number in range(30):
        tallies.note(APP, Tag(f"v{number}"), ONE, "user:ann")
    tallies.note(APP, Tag("v0"), TWO, "user:bob")
    assert (tallies.dropped, told) == (20, [1])
    taken = tallies.take()
    assert len(taken) == 10
    assert taken[APP, Tag("v0")].count == 2
    assert tallies.take() == {}


async def test_what_a_client_chose_is_cut():
    store = MemoryStore()
    one = history(store)
    one.note(APP, Tag("v1"), ONE, "user:" + "x" * 5000)
    await one.flush()
    (key,) = await store.list(keys.PULLS)
    assert len((await store.get(key)).data) < 600


async def test_much_is_flushed_early_and_what_fails_is_flushed_later(monkeypatch):
    store = Breaking()
    one, failed = history(store, most=4), []
    store.failures = iter(["before"])
    task = asyncio.create_task(flushing(one, 3600.0, failed.append))
    await asyncio.sleep(0)
    for number in range(4):
        one.note(APP, Tag(f"v{number}"), ONE, "user:ann")
    while not failed:
        await asyncio.sleep(0.01)
    assert await one.flush() == 1
    task.cancel()
    assert len(await store.list(keys.PULLS)) == 1


async def test_a_process_that_serves_many_projects_writes_down_all_of_them():
    store = MemoryStore()
    one = history(store)
    for number in range(40):
        one.note(Place(f"t{number:02}/app"), Tag("v1"), ONE, "user:ann")
    assert await one.flush() == 40
    assert len(await store.list(keys.PULLS)) == 40
    assert await one.flush() == 0
