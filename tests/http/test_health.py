"""Readiness, as anybody may ask for it."""

import asyncio
from types import SimpleNamespace

from registry.http.health import Health
from registry.http.observe import RequestRecord
from storage.memory import MemoryStore
from storage.testing import FaultyStore


async def test_however_many_ask_at_once_the_store_is_asked_once():
    store = FaultyStore(MemoryStore())
    gate, health = store.gate(1, "stat"), Health(store, seconds=60)
    http, record = SimpleNamespace(method="GET"), RequestRecord(path="/readyz")
    asking = [asyncio.create_task(health.answer(http, record)) for _ in range(9)]
    await gate.reached.wait()
    asking[0].cancel()
    gate.open()
    answers = await asyncio.gather(*asking, return_exceptions=True)
    assert isinstance(answers.pop(0), asyncio.CancelledError)
    assert [answer.status for answer in answers] == [200] * 8
    assert store.calls["stat"] == 1
    store.fail(1, "stat")
    assert (await health.answer(http, record)).status == 503
    assert (await health.answer(http, record)).status == 200
