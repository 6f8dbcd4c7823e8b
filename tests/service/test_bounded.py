"""Things that are done at once: none is under way any more when the caller goes on."""

import asyncio

import pytest

from registry.service.bounded import all_of, both, in_turn, results


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


async def items(number):
    for item in range(number):
        yield item


async def test_what_is_done_in_turn_is_told_in_order_and_only_so_much_is_begun():
    begun, told, first = [], [], asyncio.Event()

    async def work(item: int) -> int:
        begun.append(item)
        if item == 2:
            first.set()
        if item == 0:
            await first.wait()
            for _ in range(100):
                await asyncio.sleep(0)
            assert begun == [0, 1, 2]
        return item * item

    async def done(item: int, came: int) -> None:
        told.append((item, came))

    await in_turn(items(6), work, done, at_once=3)
    assert told == [(item, item * item) for item in range(6)]


async def test_of_what_is_done_in_turn_nothing_is_under_way_when_one_has_failed():
    told, ended = [], []

    async def work(item: int) -> int:
        if item == 1:
            raise ValueError("the second")
        try:
            await asyncio.sleep(0 if item == 0 else 1000)
        finally:
            ended.append(item)
        return item

    async def done(item: int, _: int) -> None:
        told.append(item)

    with pytest.raises(ValueError, match="the second"):
        await in_turn(items(6), work, done, at_once=4)
    assert set(told) <= {0}
    assert set(ended) <= {0, 2, 3}


async def test_all_have_ended_when_some_have_failed():
    ended = []

    async def slow() -> None:
        await asyncio.sleep(0.01)
        ended.append("slow")

    with pytest.raises(ValueError, match="the first"):
        await all_of([slow(), fails(), slow()])
    assert ended == ["slow", "slow"]
    assert await all_of(asyncio.sleep(0, number) for number in range(3)) == [0, 1, 2]


async def test_results_come_in_the_order_of_the_items():
    running = most = 0

    async def later(number: int) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        for _ in range(10 - number):
            await asyncio.sleep(0)
        running -= 1
        return number

    assert await results(range(10), later, at_once=3) == list(range(10))
    assert most == 3
    assert await results([], later, at_once=3) == []
