"""The Redis coordinator keeps the contract: one server, Sentinels, a Cluster."""

import asyncio
import random
import time

import pytest

from storage import _redis_table as layout
from storage._pace import PACE
from storage._redis_primary import Primary
from storage.coordination import CoordinationUnavailable, LeaseHeld
from storage.redis import RedisCoordinator
from storage.redis_address import RedisAccess, RedisAddress
from storage.testing import CoordinatorContract
from tests.storage.replicas import Observer, make_old

QUICK = PACE.scaled(0.04)
"""Stamps count after 1.2 s, locks of the dead are free after 0.2 s."""


def coordinator(url, access=None, **options):
    options = {"installation": "test", "pace": QUICK, **options}
    # the machine may be busy: a time-out that is no part of a test must not end it
    return RedisCoordinator(RedisAddress.parse(url), access or RedisAccess(timeout=5), **options)


async def trusted(*parties):
    async with asyncio.timeout(10):
        for party in parties:
            while None in await party.stamps("a"):
                await asyncio.sleep(0.01)


@pytest.fixture(scope="module")
def one_server(module_redis_servers):
    return module_redis_servers.server().url


@pytest.fixture(scope="module")
def sentinels(module_redis_servers):
    return module_redis_servers.sentinels().url


@pytest.fixture(scope="module")
def cluster(module_redis_servers):
    return module_redis_servers.cluster().url


class RedisContract(CoordinatorContract):
    @pytest.fixture
    async def parties(self, url):
        async with coordinator(url, pace=PACE) as early:
            await early.wait_usable()
            await make_old(early)
        async with coordinator(url, pace=PACE) as one, coordinator(url, pace=PACE) as other:
            await trusted(one, other)
            yield one, other


class TestOneServer(RedisContract):
    @pytest.fixture
    def url(self, one_server):
        return one_server


class TestSentinels(RedisContract):
    @pytest.fixture
    def url(self, sentinels):
        return sentinels


class TestCluster(RedisContract):
    @pytest.fixture
    def url(self, cluster):
        return cluster


class Table:
    """What stands in Redis, as it stands there."""

    def __init__(self, server):
        self.client = server.client(decode_responses=False)

    def numbers(self):
        """The numbers of all slots that were ever changed."""
        (key,) = self.client.keys("*stamps")
        whole = self.client.get(key)
        assert len(whole) == layout.SIZE
        found = [int.from_bytes(whole[at : at + 8], "big") for at in range(64, len(whole), 32)]
        return [number for number in found if number]


@pytest.fixture
def server(redis_servers):
    return redis_servers.server()


async def test_names_have_slots_that_nobody_can_guess():
    """Else whoever may choose names could make another's writers wait."""
    one, other = coordinator("redis://a", installation="a"), coordinator("redis://a")
    again = coordinator("redis://b", installation="a")
    names = [f"tag/a/{number}" for number in range(100)]
    assert [one._slot(name) for name in names] == [again._slot(name) for name in names]
    assert [one._slot(name) for name in names] != [other._slot(name) for name in names]
    assert len({one._slot(name) for name in names}) > 90


async def test_every_key_ends_by_itself_and_there_are_few(server):
    async with coordinator(server.url) as one:
        await trusted(one)
        for number in range(200):
            async with one.hold(f"a{number}"), one.change(f"a{number}", f"b{number}"):
                pass
        async with one.hold("a"), one.hold("b"), one.change("a", "b", "c"):
            client = server.client()
            keys = client.keys()
            assert len(keys) == 4, keys
            assert all(key.startswith("moorage:{test}:") for key in keys)
            assert all(client.pttl(key) > 0 for key in keys)
            assert client.memory_usage("moorage:{test}:stamps") < 3 * 1024 * 1024
        assert len(server.client().keys()) == 2


async def test_installations_that_share_a_server_do_not_meet(server):
    """goharbor/harbor#14902: two registries with one Redis took each other's cache for theirs."""
    async with (
        coordinator(server.url) as one,
        coordinator(server.url, installation="another") as other,
        coordinator(server.url, prefix="third") as third,
    ):
        await trusted(one, other, third)
        async with one.change("a"), one.hold("a"):
            for party in (other, third):
                async with party.change("a", wait=0), party.hold("a"):
                    assert None not in await party.stamps("b")


async def die_holding(url):
    """Enter a lease and a change of "a", and give no sign of life any more."""
    entered = asyncio.Event()

    async def hold(party):
        async with party.hold("a"), party.change("a"):
            entered.set()
            await asyncio.Event().wait()

    async with coordinator(url) as party:
        await trusted(party)
        task = asyncio.ensure_future(hold(party))
        await entered.wait()
    return task


async def test_what_a_dead_holder_had_is_free_soon_and_usable_later(server):
    async with coordinator(server.url) as one:
        await trusted(one)
        dead = await die_holding(server.url)
        start = time.monotonic()
        assert await one.stamps("a", "b") == (None, (await one.stamps("b"))[0])
        async with one.hold("a", wait=5), one.change("b", wait=0):
            assert 0.02 < time.monotonic() - start < 5
        assert await one.stamps("a") == (None,)
        await trusted(one)
        assert QUICK.flux - 0.1 < time.monotonic() - start < QUICK.flux + 20
        with pytest.raises(CoordinationUnavailable, match="cut off"):
            await dead


async def test_who_takes_over_from_the_dead_does_not_vouch_for_them(server):
    """Its own change has ended; that of the one before may still take effect."""
    async with coordinator(server.url) as one:
        await trusted(one)
        dead = await die_holding(server.url)
        start = time.monotonic()
        async with one.change("a"):
            pass
        assert time.monotonic() - start < 5
        assert await one.stamps("a") == (None,)
        async with one.change("a", wait=0):
            pass
        assert await one.stamps("a") == (None,)
        await trusted(one)
        assert QUICK.flux - 0.1 < time.monotonic() - start < QUICK.flux + 20
        with pytest.raises(CoordinationUnavailable, match="cut off"):
            await dead


async def test_a_holder_that_lives_keeps_what_it_has(server):
    async with coordinator(server.url) as one, coordinator(server.url) as other:
        await trusted(one, other)
        async with one.hold("a"), one.change("a"):
            end = time.monotonic() + 2 * QUICK.flux
            while time.monotonic() < end:
                with pytest.raises(LeaseHeld):
                    async with other.hold("a"):
                        pass
                with pytest.raises(LeaseHeld):
                    async with other.change("a", wait=0.01):
                        pass
                assert await other.stamps("a") == (None,)


async def test_fences_grow_through_a_flush(server):
    async def fence(party):
        while True:
            try:
                async with party.hold("a") as lease:
                    return lease.fence
            except CoordinationUnavailable:  # it has just found that the table is gone
                await party.wait_usable()

    fences = []
    async with coordinator(server.url) as one, coordinator(server.url) as other:
        await trusted(one, other)
        for party in (one, other, one, other):
            fences.append(await fence(party))
            server.client().flushall()
    assert fences == sorted(set(fences))


async def test_a_storm_of_cancellations_gives_nobody_anothers_answer(server):
    """CVE-2023-28858, CVE-2023-28859."""
    chance = random.Random(28858)  # noqa: S311
    async with coordinator(server.url, pace=PACE.scaled(0.5)) as one:
        await one.wait_usable()
        names = [f"name {number}" for number in range(20)]
        for number, name in enumerate(names):
            for _ in range(number):
                async with one.change(name):
                    pass
        slots = [one._slot(name) for name in names]
        assert len(set(slots)) == len(slots)
        while one._untold:  # an end that is told twice, on a busy machine, counts twice
            await asyncio.sleep(0.01)
        _, *numbers = await one._stamps.ask(slots)
        assert numbers == sorted(numbers)
        assert numbers[-1] >= 2 * len(names) - 2
        answers = 0

        async def ask(number):
            nonlocal answers
            if number % 3 == 0:
                assert await one._link.call("ECHO", f"{number}") == b"%d" % number
            elif number % 3 == 1:
                found = await one._stamps.ask([slots[number % 20], slots[0]])
                assert found[1:] == [numbers[number % 20], 0]
            else:
                async with one.hold(f"lease {number}") as lease:
                    assert lease.name == f"lease {number}"
            answers += 1

        for _ in range(60):
            tasks = [asyncio.ensure_future(ask(chance.randrange(10_000))) for _ in range(50)]
            for task in chance.sample(tasks, 25):
                for _ in range(chance.randrange(3)):
                    await asyncio.sleep(0)
                task.cancel()
            for result in await asyncio.gather(*tasks, return_exceptions=True):
                assert result is None or isinstance(result, asyncio.CancelledError | LeaseHeld)
        assert answers > 500
        assert len(server.client().client_list()) == 2, "one connection, and the one that asks"
        keys = server.client().keys()
        assert sorted(keys) == ["moorage:{test}:fence", "moorage:{test}:stamps"]
        assert not any(number & 1 for number in Table(server).numbers())


@pytest.mark.parametrize("steps", range(1, 40, 3))
@pytest.mark.parametrize("kind", ["sentinels", "cluster"])
async def test_a_cancelled_connection_attempt_ends(request, kind, steps):
    """redis-py's client for Clusters swallows the cancellation."""
    primary = Primary(RedisAddress.parse(request.getfixturevalue(kind)), RedisAccess(), "a")
    task = asyncio.ensure_future(primary.connect())
    for _ in range(steps):
        await asyncio.sleep(0)
    if task.done():
        await task.result().connection.disconnect(nowait=True)
        return
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()


async def test_many_ask_in_one_round_trip(server):
    observer = Observer()
    async with coordinator(server.url, observer=observer) as one:
        await trusted(one)
        before = observer.count("round_trip")
        await asyncio.gather(*[one.stamps(f"a{number}", "b") for number in range(500)])
        assert observer.count("round_trip") - before <= 4
