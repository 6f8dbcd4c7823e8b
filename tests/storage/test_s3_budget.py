"""What uploads to S3 may hold in memory: never more than that, and nobody waits for ever."""

import asyncio
import dataclasses
import random

import pytest

from storage._s3_budget import Budget, Share
from storage._s3_progress import Progress
from storage._s3_writer import S3Writer
from storage.outlast import outlast
from storage.ports import Unavailable
from storage.s3 import MIN_PART, PartPlan
from storage.testing.content import pattern, read_content
from tests.fixtures.stores import s3_store, settings_of
from tests.oracle.s3_proxy import S3Proxy

OWN, COMMON = 8, 6


@pytest.fixture
def budget():
    return Budget(OWN, COMMON)


@pytest.fixture
def shares(budget):
    return [Share(budget) for _ in range(5)]


async def waiting(share, size):
    """A task that waits for so much more."""
    task = asyncio.ensure_future(share.take(size))
    await settled()
    assert not task.done()
    return task


async def settled():
    for _ in range(3):
        await asyncio.sleep(0)


async def test_what_is_its_own_an_upload_gets_whatever_others_hold(budget, shares):
    await shares[0].take(OWN + COMMON)
    for share in shares[1:]:
        await asyncio.wait_for(share.take(OWN), 1)
    assert budget.taken == COMMON


async def test_beyond_its_own_it_waits_for_what_others_give_back(budget, shares):
    await shares[0].take(OWN + COMMON)
    await shares[1].take(OWN)
    task = await waiting(shares[1], 1)
    shares[0].give(1)
    await asyncio.wait_for(task, 1)
    assert (budget.taken, shares[1].held) == (COMMON, OWN + 1)


async def test_it_goes_on_when_it_holds_no_more_than_its_own_whoever_waits_before(budget, shares):
    """Its part has arrived: else uploads that wait for each other's bytes would never go on."""
    await shares[0].take(OWN + COMMON)
    await shares[1].take(OWN)
    await shares[2].take(OWN)
    first, second = await waiting(shares[1], 1), await waiting(shares[2], 2)
    shares[2].give(OWN)
    await asyncio.wait_for(second, 1)
    assert not first.done()
    assert budget.taken == COMMON
    shares[0].close()
    await asyncio.wait_for(first, 1)


async def test_who_asked_first_is_served_first_and_small_wishes_do_not_pass_large_ones(shares):
    await shares[0].take(OWN + COMMON)
    for share in shares[1:]:
        await share.take(OWN)
    tasks = [await waiting(share, size) for share, size in zip(shares[1:], (5, 1, 3), strict=False)]
    shares[0].give(2)
    await settled()
    assert [task.done() for task in tasks] == [False, False, False]
    shares[0].give(3)
    await settled()
    assert [task.done() for task in tasks] == [True, False, False]
    assert not (await waiting(shares[4], 1)).done(), "a newcomer does not pass either"
    shares[1].give(5)
    await settled()
    assert [task.done() for task in tasks] == [True, True, True]


async def test_more_than_there_is_is_given_when_nobody_holds_any(budget, shares):
    await shares[0].take(OWN + 1)
    task = await waiting(shares[1], OWN + COMMON + 3)
    shares[0].give(1)
    await asyncio.wait_for(task, 1)
    other = await waiting(shares[0], 1)
    shares[1].close()
    await asyncio.wait_for(other, 1)
    assert budget.taken == 1


async def test_who_is_cancelled_holds_nothing_of_it_and_lets_others_pass(budget, shares):
    await shares[0].take(OWN + COMMON - 1)
    large, small = await waiting(shares[1], OWN + 3), await waiting(shares[2], OWN + 1)
    large.cancel()
    await asyncio.wait_for(small, 1)
    assert (shares[1].held, budget.taken) == (0, COMMON)


async def test_who_is_cancelled_as_it_gets_leave_gives_it_back(budget, shares):
    await shares[0].take(OWN + COMMON)
    task = await waiting(shares[1], OWN + COMMON)
    shares[0].close()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (shares[1].held, budget.taken) == (0, 0)


async def test_who_has_waited_long_enough_gets_it_whatever_is_left():
    """A client that is slow to fill a large part can't keep other uploads waiting for ever."""
    budget = Budget(OWN, COMMON, patience=0.05)
    slow, other = Share(budget), Share(budget)
    await slow.take(OWN + COMMON)
    await asyncio.wait_for(other.take(OWN + 1), 5)
    assert budget.taken == COMMON + 1
    other.close()
    slow.close()
    assert budget.taken == 0


@pytest.mark.parametrize("seed", range(20))
async def test_many_uploads_hold_no_more_than_that_and_all_come_to_their_end(seed):
    """As the writer does it: fill a part piece by piece, send it, fill the next meanwhile."""
    chance = random.Random(seed)  # noqa: S311
    budget = Budget(OWN, chance.choice([0, 1, COMMON, 40]))
    shares = [Share(budget) for _ in range(12)]

    async def arrive(share, size):
        await asyncio.sleep(chance.random() * 0.002)
        share.give(size)

    async def end(share, flying):
        await asyncio.gather(*flying)
        share.close()

    async def upload(share):
        flying = set()
        try:
            for _ in range(chance.randint(1, 6)):
                for _ in range(OWN // 2):
                    await share.take(2)
                    assert budget.taken <= max(budget.common, 2)
                    if chance.random() < 0.3:
                        await asyncio.sleep(chance.random() * 0.001)
                flying.add(asyncio.ensure_future(arrive(share, OWN)))
        finally:
            await outlast(end(share, flying))

    tasks = [asyncio.ensure_future(upload(share)) for share in shares]
    await asyncio.sleep(0.002)
    for task in chance.sample(tasks, 4):
        task.cancel()
    done, pending = await asyncio.wait(tasks, timeout=10)
    assert not pending
    assert all(task.cancelled() or task.exception() is None for task in done)
    assert budget.taken == 0
    assert {share.held for share in shares} == {0}


# with real uploads

DATA = pattern(3 * MIN_PART + 1_000_000)
PIECE = 1024 * 1024


async def feed(writer, data):
    for start in range(0, len(data), PIECE):
        await writer.write(data[start : start + PIECE])


@pytest.fixture
def settings(minio):
    return settings_of(minio, parts=PartPlan(first=MIN_PART), buffer_bytes=3 * PIECE)


async def test_more_uploads_at_a_time_than_the_budget_has_room_for(settings):
    most = 0
    async with s3_store(settings) as store:
        budget = store._budget

        async def upload(key):
            nonlocal most
            async with store.append(key, "") as writer:
                for start in range(0, len(DATA), PIECE):
                    await writer.write(DATA[start : start + PIECE])
                    most = max(most, budget.taken)
                assert await writer.finish() == len(DATA)

        names = [f"data/{number}" for number in range(8)]
        await asyncio.wait_for(asyncio.gather(*map(upload, names)), 60)
        assert 0 < most <= 3 * PIECE
        assert budget.taken == 0
        assert await read_content(store, names[-1]) == DATA


async def test_what_a_resumed_or_small_upload_held_is_given_back(settings):
    async with s3_store(settings) as store:
        async with store.append("data/a", "") as writer:
            await feed(writer, DATA[: MIN_PART + 7])
            progress = await writer.checkpoint()
            share = writer._share
        assert share.held == 0
        async with store.append("data/a", progress) as writer:
            await feed(writer, DATA[MIN_PART + 7 :])
            await writer.finish()
            share = writer._share
        assert share.held == 0
        assert await read_content(store, "data/a") == DATA
        async with store.append("data/a", "") as writer:  # it stands there: nothing is buffered
            await feed(writer, DATA)
            assert writer._share.held < MIN_PART


async def test_without_room_parts_are_as_small_as_they_may_be(minio):
    """Also where the content stands there already, and is only compared."""
    async with s3_store(settings_of(minio, buffer_bytes=0)) as store:
        other = Share(store._budget)
        await other.take(store._budget.own + 1)
        for _ in range(2):
            async with store.append("data/a", "") as writer:
                await feed(writer, DATA)
                assert writer._share.held <= store._budget.own
                sent = len(writer._parts._sent)
                assert await writer.finish() == len(DATA)
        assert sent == 0
        assert await read_content(store, "data/a") == DATA
        async with store.append("data/b", "") as writer:
            await feed(writer, DATA)
            assert len(writer._parts._sent) == len(DATA) // (6 * PIECE) == 2


@pytest.mark.parametrize("end", ["cancelled", "failed"])
async def test_an_upload_that_breaks_off_gives_back_what_it_held(settings, minio, end):
    async with S3Proxy(minio.endpoint) as proxy:
        settings = dataclasses.replace(
            settings, endpoint=proxy.endpoint, total_seconds=0.5, buffer_bytes=64 * PIECE
        )
        async with s3_store(settings) as store:
            began = asyncio.Event()

            async def upload():
                async with store.append("data/a", "") as writer:
                    proxy.fault(1, "hang", times=1000, fits=lambda r: "partNumber" in r.raw_path)
                    await feed(writer, DATA[: 2 * MIN_PART + PIECE])
                    assert store._budget.taken > 0
                    began.set()
                    if end == "cancelled":
                        await asyncio.sleep(60)
                    await writer.checkpoint()

            task = asyncio.ensure_future(upload())
            await asyncio.wait_for(began.wait(), 20)
            if end == "cancelled":
                task.cancel()
            with pytest.raises((asyncio.CancelledError, Unavailable)):
                await task
            assert store._budget.taken == 0


def test_a_larger_part_is_asked_for_as_a_whole():
    """Else two uploads with half of one each would wait for each other."""
    asked = []

    class Asked:
        async def take(self, size):
            asked.append(size)

    writer = S3Writer(None, PartPlan(first=10), "data/a", Progress(1), Asked())
    writer._parts._sent = [None] * 2000

    async def write():
        for _ in range(3):
            await writer.write(b"12345")

    asyncio.run(write())
    assert asked == [20]
