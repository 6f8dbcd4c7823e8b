"""Rate limits: one process by itself, and several through a real Redis."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.rates import LocalRates, Rate
from storage.redis_address import RedisAccess, RedisAddress
from storage.redis_rates import RedisRates

SLOW = Rate(per_second=0.01, burst=5)


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def test_a_burst_then_the_rate():
    clock = Clock()
    rates = LocalRates(clock=clock)
    rate = Rate(per_second=2, burst=3)
    assert [rates.take("a", rate) for _ in range(3)] == [0, 0, 0]
    assert rates.take("a", rate) == pytest.approx(0.5)
    assert rates.take("b", rate) == 0
    clock.now += 0.5
    assert rates.wait("a", rate) == 0
    assert rates.take("a", rate) == 0
    assert rates.wait("a", rate) == pytest.approx(0.5)
    assert rates.take("a", rate) > 0


def test_who_is_refused_pays_nothing():
    clock = Clock()
    rates = LocalRates(clock=clock)
    rate = Rate(per_second=1, burst=1)
    rates.take("a", rate)
    waits = {round(rates.take("a", rate), 6) for _ in range(100)}
    assert waits == {1.0}


@given(
    st.lists(st.tuples(st.floats(0, 5), st.floats(0.1, 3)), max_size=60),
    st.floats(0.1, 20),
    st.integers(3, 20),
)
def test_no_more_than_the_bucket_and_the_rate_give(steps, per_second, burst):
    clock = Clock()
    rates, rate = LocalRates(clock=clock), Rate(per_second, burst)
    began, taken = clock.now, 0.0
    for pause, cost in steps:
        clock.now += pause
        if rates.take("a", rate, cost) == 0:
            taken += cost
    assert taken <= burst + (clock.now - began) * per_second + 1e-6


@given(st.floats(0.1, 100), st.integers(1, 50), st.integers(0, 100))
def test_what_one_is_told_to_wait_is_enough(per_second, burst, tries):
    clock = Clock()
    rates, rate = LocalRates(clock=clock), Rate(per_second, burst)
    for _ in range(tries):
        rates.take("a", rate)
    clock.now += rates.wait("a", rate) + 1e-6
    assert rates.take("a", rate) == 0


def test_memory_is_bounded():
    rates = LocalRates(names=100)
    for number in range(1000):
        rates.take(str(number), SLOW)
    assert len(rates._full) == 100


@pytest.fixture
async def pair(redis_servers):
    """Two processes' limits over one Redis, and the server."""
    server = redis_servers.server()
    address, access = RedisAddress.parse(server.url), RedisAccess(timeout=0.5)
    async with (
        RedisRates(address, access, period=0.02) as one,
        RedisRates(address, access, period=0.02) as two,
    ):
        await until(lambda: one.shared and two.shared)
        yield one, two, server


async def until(probe, seconds=60.0):
    async with asyncio.timeout(seconds):
        while not probe():
            await asyncio.sleep(0.01)


async def test_processes_share_a_bucket(pair):
    one, two, _ = pair
    for _ in range(5):
        assert one.take("a", SLOW) == 0
    assert two.take("a", SLOW) == 0  # it has not heard yet: the stated price
    await until(lambda: two.wait("a", SLOW) > 0)
    assert two.take("a", SLOW) > 0
    assert two.take("b", SLOW) == 0


async def test_names_are_not_told_to_redis(pair):
    one, _, server = pair
    one.take("user:alice from 192.0.2.1", SLOW)
    with server.client() as client:
        await until(lambda: client.keys("*"))
        keys = client.keys("*")
        assert all("alice" not in str(key) and "192" not in str(key) for key in keys)
        assert all(client.pttl(key) > 0 for key in keys)


async def test_without_redis_limits_are_local_and_nobody_waits(pair):
    one, _, server = pair
    server.kill()
    loop = asyncio.get_running_loop()
    began = loop.time()
    assert [one.take("a", SLOW) == 0 for _ in range(6)] == [True] * 5 + [False]
    assert loop.time() - began < 0.1
    await until(lambda: not one.shared)
    assert one.take("a", SLOW) > 0
    server.start()
    await until(lambda: one.shared)
    assert one.take("a", SLOW) > 0


async def test_what_was_taken_while_redis_hung_is_told_later(pair):
    one, two, server = pair
    server.pause()
    for _ in range(5):
        one.take("a", SLOW)
    await asyncio.sleep(0.1)
    server.go_on()
    await until(lambda: one.shared and two.shared)
    two.take("a", SLOW)
    await until(lambda: two.wait("a", SLOW) > 0, 5)
