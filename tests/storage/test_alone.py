"""Notices that a process goes alone: what is up is known, whatever comes in between."""

import asyncio

import pytest

from storage._alone import Alone
from storage.keys import ALONE
from storage.memory import MemoryStore
from storage.testing import FaultyStore
from tests.storage.replicas import QUICK


@pytest.fixture
async def store():
    return FaultyStore(MemoryStore())


@pytest.fixture
async def alone(store):
    alone = Alone(store, QUICK)
    running = asyncio.create_task(alone.run())
    yield alone
    assert not running.done(), "no more signs of life"
    running.cancel()


async def act(alone):
    async with alone.acting():
        pass


async def test_a_notice_is_up_during_a_change_and_gone_when_it_was_withdrawn(store, alone):
    async with alone.acting():
        assert await store.list(ALONE)
        await asyncio.sleep(QUICK.stay)
        await alone.withdraw()
        assert alone.declared, "a change is under way"
    await alone.withdraw()
    assert not alone.declared
    assert await store.list(ALONE) == []
    await asyncio.sleep(3 * QUICK.look)
    assert await store.list(ALONE) == []


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_notice_that_is_being_put_up_is_withdrawn_too(store, alone, when):
    await act(alone)
    await asyncio.sleep(QUICK.stay)
    gate = store.gate(method="put", when=when)
    async with asyncio.timeout(5):
        await gate.reached.wait()
    withdrawal = asyncio.ensure_future(alone.withdraw())
    await asyncio.sleep(QUICK.look / 4)
    gate.open()
    await withdrawal
    await asyncio.sleep(3 * QUICK.look)
    assert await store.list(ALONE) == []
    assert not alone.declared
    await act(alone)
    assert await store.list(ALONE)
