"""Things that are done at once: none is under way any more when the caller goes on."""

import asyncio

import pytest

from registry.service.bounded import both


async def fails() -> None:
    raise ValueError("the first")


async def test_both_have_ended_when_one_has_failed():
    ended = []

    async def slow() -> None:
        await asyncio.sleep(0.01)
        ended.append("slow")

    for calls in ((fails(), slow()), (slow(), fails())):
        with pytest.raises(ValueError, match="the first"):
            await both(*calls)
    assert ended == ["slow", "slow"]
    assert await both(asyncio.sleep(0, 1), asyncio.sleep(0, "a")) == (1, "a")


async def test_both_have_ended_when_the_caller_is_cancelled():
    ended = []

    async def cleaned_up(name: str) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append(name)

    calling = asyncio.create_task(both(cleaned_up("one"), cleaned_up("other")))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling
    assert sorted(ended) == ["one", "other"]
