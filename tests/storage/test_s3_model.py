"""Random operations: S3 answers as the memory does, and lists as a sorted set."""

import asyncio
import dataclasses
import itertools

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from storage.memory import MemoryStore
from storage.s3 import MIN_PART, PartPlan
from tests.fixtures.stores import s3_store, s3_store_as_before, settings_of
from tests.storage.model import AFTER, KEYS, NOTHING_MORE, OPERATIONS, STEMS, Driven

pytestmark = pytest.mark.timeout(300)

_numbers = itertools.count(1)

WRITES = st.sampled_from([0, 1, 1_000_000, MIN_PART - 1, MIN_PART, MIN_PART + 1])
STEPS = st.lists(st.tuples(WRITES, st.sampled_from(["on", "checkpoint", "leave"])), max_size=5)
DATA = bytes(range(256)) * (5 * (MIN_PART + 1) // 256 + 1)


@pytest.fixture(scope="module")
def shared(minio):
    return settings_of(minio, parts=PartPlan(first=MIN_PART))


def below(shared):
    """A prefix of its own for each example."""
    return dataclasses.replace(shared, prefix=f"{next(_numbers)}/")


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(operations=st.lists(OPERATIONS, max_size=30))
@example(operations=NOTHING_MORE)
def test_s3_answers_as_the_memory_does(shared, operations):
    async def run():
        async with s3_store(below(shared)) as store:
            memory = MemoryStore()
            one, other = Driven(store), Driven(memory)
            for operation in operations:
                assert await one.do(operation) == await other.do(operation), operation
            assert await store.list("k/") == await memory.list("k/")

    asyncio.run(run())


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps=STEPS)
def test_content_is_what_was_written_however_it_was_cut(shared, steps):
    """From one writer to the next, with what was not saved written again."""

    async def run():
        async with s3_store(below(shared)) as store:
            progress = ""
            context = store.append("data/a", progress)
            writer = await context.__aenter__()
            for size, then in steps:
                start = writer.offset
                await writer.write(DATA[start : start + size])
                if then != "on":
                    progress = await writer.checkpoint() if then == "checkpoint" else progress
                    await context.__aexit__(None, None, None)
                    context = store.append("data/a", progress)
                    writer = await context.__aenter__()
            size = await writer.finish()
            await context.__aexit__(None, None, None)
            async with store.open("data/a") as reader:
                found = b"".join([piece async for piece in reader])
            assert size == len(found)
            assert found == DATA[:size]
            assert (await store._bucket.page("~")).keys == []

    asyncio.run(run())


@pytest.mark.parametrize("server", ["minio", "seaweedfs"])
def test_listings_are_slices_of_the_sorted_keys(request, server):
    """SeaweedFS has an order of its own."""
    shared = settings_of(request.getfixturevalue(server), bucket="listings")

    async def probed():
        async with s3_store(shared) as store:
            return store

    known = asyncio.run(probed())
    assert known.honours.sorted == (server == "minio")

    @settings(max_examples=20, deadline=None)
    @given(st.sets(KEYS, max_size=20), AFTER, st.integers(0, 12), STEMS)
    def check(keys, after, limit, stem):
        async def run():
            async with s3_store_as_before(below(shared), known) as store:
                await store.put_all([(key, b"") for key in keys])
                prefix = "/".join(["k", *stem]) + "/"
                within = sorted(key for key in keys if key.startswith(prefix))
                expected = [key for key in within if key > after][:limit]
                assert list(await store.list(prefix, after=after, limit=limit)) == expected
                assert list(await store.list("k/")) == sorted(keys)
                for place in within[:4]:
                    expected = [key for key in within if key > place][:3]
                    assert list(await store.list(prefix, after=place, limit=3)) == expected

        asyncio.run(run())

    check()
