"""A call in a thread has ended when its awaiting ends, also by cancellation."""

import asyncio
import threading
import time

import pytest

from storage._threads import Threads


@pytest.fixture
def threads():
    threads = Threads(2, "test")
    yield threads
    threads.close()


async def test_results_and_errors_come_back(threads):
    assert await threads.run(divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        await threads.run(divmod, 1, 0)


async def test_no_more_threads_than_allowed(threads):
    names = set()

    def work():
        names.add(threading.current_thread().name)
        time.sleep(0.01)

    await asyncio.gather(*[threads.run(work) for _ in range(10)])
    assert names == {"test-0", "test-1"}


async def test_one_call_at_a_time_takes_one_thread(threads):
    for _ in range(5):
        await threads.run(int)
    assert len(threads._threads) == 1


async def test_a_cancelled_call_is_waited_for_however_often_it_is_cancelled(threads):
    go = threading.Event()
    ended = []

    def work():
        go.wait(10)
        ended.append(True)

    task = asyncio.ensure_future(threads.run(work))
    await asyncio.sleep(0.01)
    for _ in range(3):
        task.cancel()
        await asyncio.sleep(0.01)
        assert not task.done()
    go.set()
    await asyncio.wait([task])
    assert task.cancelled()
    assert ended == [True]


@pytest.mark.parametrize("steps", range(5))
async def test_what_a_cancelled_call_returned_is_undone(threads, steps):
    made, undone = [], []

    def work():
        made.append(object())
        return made[-1]

    async def use():
        return await threads.run(work, undo=undone.append)

    for _ in range(20):
        task = asyncio.ensure_future(use())
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            undone.append(task.result())
    assert made == undone


async def test_an_error_of_a_cancelled_call_is_forgotten(threads):
    def work():
        time.sleep(0.01)
        raise ValueError

    task = asyncio.ensure_future(threads.run(work))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()


def test_a_loop_that_is_closed_hurts_nobody(threads):
    async def leave():
        task = asyncio.ensure_future(threads.run(time.sleep, 0.05))
        await asyncio.sleep(0)
        return task

    loop = asyncio.new_event_loop()
    task = loop.run_until_complete(leave())
    task.cancel()
    loop.run_until_complete(asyncio.wait([task]))
    loop.close()
    assert asyncio.run(threads.run(int)) == 0


async def test_an_errand_is_run_and_its_error_forgotten(threads):
    done = threading.Event()
    threads.post(lambda: 1 / 0)
    threads.post(done.set)
    assert await asyncio.to_thread(done.wait, 5)
