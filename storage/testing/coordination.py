"""The contract of ``Coordinator``, one test for each clause."""
# ruff: noqa: S101, D102 - tests: they assert, and their names say what

import asyncio
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack

import pytest

from storage.coordination import Coordinator, LeaseHeld

_CANCELLATIONS = range(8)


async def _use(context: AbstractAsyncContextManager[object]) -> None:
    async with context:
        await asyncio.sleep(0)


async def _cancelled_after(steps: int, context: AbstractAsyncContextManager[object]) -> None:
    task = asyncio.ensure_future(_use(context))
    for _ in range(steps):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled() or task.exception() is None


class CoordinatorContract:
    """Subclass it with a fixture ``parties``: two who coordinate, as it were two processes.

    They may be one and the same where the driver is for one process.
    """

    @pytest.fixture
    async def parties(self) -> tuple[Coordinator, Coordinator]:
        """Two parties of one coordination."""
        raise NotImplementedError

    @pytest.fixture
    def one(self, parties: tuple[Coordinator, Coordinator]) -> Coordinator:
        """The first party."""
        return parties[0]

    @pytest.fixture
    def other(self, parties: tuple[Coordinator, Coordinator]) -> Coordinator:
        """The second party."""
        return parties[1]

    # hold

    async def test_one_holder_at_a_time(self, one: Coordinator, other: Coordinator) -> None:
        async with one.hold("a") as lease:
            assert lease.name == "a"
            for party in (one, other):
                with pytest.raises(LeaseHeld) as caught:
                    async with party.hold("a"):
                        pass
                assert caught.value.name == "a"
        async with other.hold("a"):
            pass

    async def test_holders_of_other_names_do_not_wait(
        self, one: Coordinator, other: Coordinator
    ) -> None:
        async with AsyncExitStack() as stack:
            for number in range(100):
                await stack.enter_async_context(one.hold(f"a{number}"))
                await stack.enter_async_context(other.hold(f"b{number}"))

    async def test_waiting_ends_when_the_holder_lets_go(
        self, one: Coordinator, other: Coordinator
    ) -> None:
        for first, second in ((one, one), (one, other), (other, one)):
            order = []
            async with first.hold("a"):
                waiter = asyncio.ensure_future(_use(second.hold("a", wait=5)))
                await asyncio.sleep(0.03)
                order.append(waiter.done())
            start = time.monotonic()
            await waiter
            assert order == [False]
            assert time.monotonic() - start < 1

    async def test_waiting_ends_after_the_time_given(
        self, one: Coordinator, other: Coordinator
    ) -> None:
        async with one.hold("a"):
            for party in (one, other):
                start = time.monotonic()
                with pytest.raises(LeaseHeld):
                    async with party.hold("a", wait=0.05):
                        pass
                assert 0.04 < time.monotonic() - start < 1

    async def test_a_lease_ends_with_its_context_in_whatever_way(
        self, one: Coordinator, other: Coordinator
    ) -> None:
        with pytest.raises(RuntimeError):
            async with one.hold("a"):
                raise RuntimeError
        async with other.hold("a"):
            pass

    async def test_the_fence_grows_with_each_holder(
        self, one: Coordinator, other: Coordinator
    ) -> None:
        fences = []
        for party in (one, other, one, one, other):
            async with party.hold("a") as lease:
                fences.append(lease.fence)
        assert fences == sorted(set(fences))

    @pytest.mark.parametrize("steps", _CANCELLATIONS)
    async def test_a_cancelled_holder_leaves_nothing_held(
        self, one: Coordinator, other: Coordinator, steps: int
    ) -> None:
        await _cancelled_after(steps, one.hold("a", wait=1))
        async with other.hold("a"):
            pass

    @pytest.mark.parametrize("steps", _CANCELLATIONS)
    async def test_a_cancelled_waiter_leaves_nothing_held(
        self, one: Coordinator, other: Coordinator, steps: int
    ) -> None:
        for waiting in (one, other):
            async with one.hold("a"):
                await _cancelled_after(steps, waiting.hold("a", wait=1))
            async with other.hold("a"):
                pass

    @pytest.mark.parametrize("steps", _CANCELLATIONS)
    async def test_a_waiter_cancelled_as_its_turn_comes_passes_it_on(
        self, one: Coordinator, steps: int
    ) -> None:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(one.hold("a"))
            first = asyncio.ensure_future(_use(one.hold("a", wait=5)))
            second = asyncio.ensure_future(_use(one.hold("a", wait=5)))
            await asyncio.sleep(0)
            await stack.aclose()
            for _ in range(steps):
                await asyncio.sleep(0)
            first.cancel()
            await asyncio.wait_for(second, 2)
            await asyncio.wait([first])

    async def test_holders_never_overlap(self, one: Coordinator, other: Coordinator) -> None:
        inside = 0
        most = 0

        async def work(party: Coordinator) -> None:
            nonlocal inside, most
            for _ in range(10):
                async with party.hold("a", wait=20):
                    inside += 1
                    most = max(most, inside)
                    await asyncio.sleep(0)
                    inside -= 1

        await asyncio.gather(*[work(party) for party in (one, one, other, other)])
        assert most == 1

    # stamps

    async def test_a_stamp_stays_while_nothing_changes(
        self, one: Coordinator, other: Coordinator
    ) -> None:
        first = await one.stamps("a", "b", "a")
        assert len(first) == 3
        assert None not in first
        assert first[0] == first[2]
        assert await one.stamps("a", "b", "a") == first
        async with other.change("something else"):
            assert await one.stamps("a", "b", "a") == first
        async with other.hold("a"):
            assert await one.stamps("a", "b", "a") == first

    async def test_no_names_have_no_stamps(self, one: Coordinator) -> None:
        assert await one.stamps() == ()

    async def test_there_is_no_stamp_within_a_change(
        self, one: Coordinator, other: Coordinator
    ) -> None:
        async with one.change("a", "b"):
            for party in (one, other):
                assert await party.stamps("a", "b") == (None, None)
                (untouched,) = await party.stamps("c")
                assert untouched is not None
                assert await party.stamps("a", "c") == (None, untouched)

    async def test_who_has_the_lock_is_the_sole_writer(
        self, one: Coordinator, other: Coordinator
    ) -> None:
        for party in (one, other):
            async with party.change("a") as change:
                assert change.sole()

    async def test_a_stamp_is_new_after_a_change(
        self, one: Coordinator, other: Coordinator
    ) -> None:
        seen = set()
        for party in (one, other, one):
            seen.add(await one.stamps("a"))
            async with party.change("a"):
                pass
            assert await one.stamps("a") == await other.stamps("a")
        seen.add(await one.stamps("a"))
        assert len(seen) == 4
        assert (None,) not in seen

    @pytest.mark.parametrize("error", [RuntimeError, asyncio.CancelledError, KeyboardInterrupt])
    async def test_a_stamp_is_new_in_whatever_way_a_change_ends(
        self, one: Coordinator, other: Coordinator, error: type[BaseException]
    ) -> None:
        before = await other.stamps("a")
        with pytest.raises(error):
            async with one.change("a"):
                raise error
        after = await other.stamps("a")
        assert after not in (before, (None,))

    async def test_changes_of_one_name_come_one_after_the_other(
        self, one: Coordinator, other: Coordinator
    ) -> None:
        inside = 0
        most = 0

        async def work(party: Coordinator, *names: str) -> None:
            nonlocal inside, most
            for _ in range(10):
                async with party.change(*names):
                    inside += 1
                    most = max(most, inside)
                    await asyncio.sleep(0)
                    inside -= 1

        await asyncio.gather(
            work(one, "a"), work(one, "a", "b"), work(other, "b", "a"), work(other, "c", "a", "a")
        )
        assert most == 1

    async def test_a_change_that_waits_too_long_changes_nothing(
        self, one: Coordinator, other: Coordinator
    ) -> None:
        before = await one.stamps("a", "b", "c")
        async with one.change("b"):
            for party in (one, other):
                with pytest.raises(LeaseHeld):
                    async with party.change("a", "b", "c", wait=0.03):
                        pass
                after = await other.stamps("a", "b", "c")
                assert (after[0], after[2]) == (before[0], before[2])
        async with other.change("a", "b", "c", wait=0):
            pass

    async def test_a_change_may_be_nested_in_a_hold_of_the_same_name(
        self, one: Coordinator
    ) -> None:
        async with one.hold("a"), one.change("a", wait=0.1):
            assert await one.stamps("a") == (None,)

    @pytest.mark.parametrize("steps", _CANCELLATIONS)
    async def test_a_cancelled_change_leaves_nothing_locked(
        self, one: Coordinator, other: Coordinator, steps: int
    ) -> None:
        make: list[Callable[[], AbstractAsyncContextManager[object]]] = [
            lambda: one.change("a", "b"),
            lambda: other.change("b", "a"),
        ]
        for context in make:
            await _cancelled_after(steps, context())
            async with other.change("a", "b", wait=0):
                pass
            async with one.change("a"):
                await _cancelled_after(steps, context())
            async with one.change("a", "b", wait=0):
                pass
            assert None not in await other.stamps("a", "b")
