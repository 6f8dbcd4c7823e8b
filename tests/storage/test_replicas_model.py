"""Replicas in a simulated world: no answer is older than what was acknowledged, whatever befalls.

Each replica runs the real coordinator, bulletin, link and memory. Writers count a register up by
compare-and-swap, as tags are moved; readers answer from memory where they may. Since each value is
larger than the one before, a history is linearizable if no read gives less than what was
acknowledged, or read, before it began, nor more than what was asked for before it ended.
"""

import asyncio
import contextlib

import pytest

from registry.service.remembered import Remembered
from storage._pace import PACE
from storage.bulletin import Bulletin
from storage.coordination import CoordinationUnavailable, LeaseHeld
from storage.ports import StorageError
from storage.redis import RedisCoordinator
from storage.redis_address import RedisAccess, RedisAddress
from storage.replicas import ReplicaCoordinator
from tests.storage.simulation import Primary, Store, World, simulate

REPLICAS = ("a", "b", "c")
NAMES = ("tag/x", "tag/y")
SECONDS = 150.0


class History:
    """What was answered, checked as it comes."""

    def __init__(self, loop):
        self.loop = loop
        self.floor = dict.fromkeys(NAMES, 0)
        self.asked = dict.fromkeys(NAMES, 0)
        self.wrong = []
        self.reads = self.writes = self.refused = 0

    def read(self, replica, name, floor, value):
        self.reads += 1
        if value < floor:
            what = f"{replica} read {name} = {value} after {floor}"
            self.wrong.append(f"{self.loop.time():.3f}: {what}")
        if value > self.asked[name]:
            self.wrong.append(f"{replica} read {name} = {value}, which nobody wrote")
        self.floor[name] = max(self.floor[name], value)


class Replica:
    """One process, until it is killed."""

    def __init__(self, world, name, history):
        self.world, self.name, self.history = world, name, history
        self.store = Store(world, name)
        bulletin = Bulletin(self.store)
        redis = RedisCoordinator(
            RedisAddress.parse("redis://simulated"),
            RedisAccess(),
            installation="test",
            terms=bulletin,
        )
        redis._link._primary = Primary(world, name)
        self.redis, self.bulletin = redis, bulletin
        self.coordinator = ReplicaCoordinator(redis, bulletin)
        self.memory = Remembered(self.coordinator, 1_000_000, lambda _: 1)

    async def live(self):
        async with self.bulletin, self.redis, self.coordinator, asyncio.TaskGroup() as tasks:
            for name in NAMES:
                for _ in range(2):
                    tasks.create_task(self.read(name))
                tasks.create_task(self.write(name))

    async def read(self, name):
        async def load():
            return int((await self.store.get(name)).data)

        chance, history = self.world.chance, self.history
        while True:
            await asyncio.sleep(chance.expovariate(4))
            floor = history.floor[name]
            with contextlib.suppress(StorageError):
                history.read(self.name, name, floor, await self.memory.get(name, load))

    async def write(self, name):
        chance, history = self.world.chance, self.history
        while True:
            await asyncio.sleep(chance.expovariate(self.world.write_rate))
            try:
                async with self.coordinator.change(name, "list"):
                    standing = await self.store.get(name)
                    value = int(standing.data) + 1
                    history.asked[name] = max(history.asked[name], value)
                    await asyncio.sleep(chance.choice([0.0, 0.0, 1.0]) * chance.random())
                    await self.store.replace(name, b"%d" % value, standing.version)
            except (StorageError, CoordinationUnavailable, LeaseHeld):
                history.refused += 1
            else:
                history.writes += 1
                history.floor[name] = max(history.floor[name], value)


async def fate(world, kill):
    """Let things happen, up to three at a time, with rests in between."""
    chance = world.chance

    def cut(where):
        where.update(chance.sample(REPLICAS, chance.randint(1, 2)))

    happenings = [
        world.flush,
        world.evict,
        world.restart,
        lambda: world.fail_over(REPLICAS),
        lambda: world.fail_over(REPLICAS),
        world.come_back,
        lambda: cut(world.cut_from_redis),
        lambda: cut(world.cut_from_redis),
        lambda: cut(world.cut_from_store),
        lambda: setattr(world, "slow_store", chance.choice([0.5, 2.0, 5.0])),
        lambda: setattr(world, "slow_redis", chance.choice([0.2, 1.0])),
        lambda: kill(chance.choice(REPLICAS)),
    ]
    while True:
        await asyncio.sleep(chance.choice([0.3, 2.0, 8.0, 45.0]) * chance.random())
        for _ in range(chance.choice([1, 1, 2, 3])):
            chance.choice(happenings)()
            await asyncio.sleep(chance.choice([0.0, 0.0, 1.0, 5.0]) * chance.random())
        if chance.random() < 0.6:
            await asyncio.sleep(chance.choice([0.5, 5.0, 20.0]) * chance.random())
            world.heal()


async def run(seed, seconds=SECONDS):
    """One history; the world is whole for the last part of it."""
    world = World(seed)
    history = History(world.loop)
    for name in NAMES:
        await world.objects.put(name, b"0")
    living = {}
    tasks = []

    def start(name, number=0):
        living[name] = Replica(world, f"{name}{number}" if number else name, history)
        tasks.append(asyncio.ensure_future(living[name].live()))

    def kill(name):
        number = int(living[name].name[1:] or 0)
        world.dead.add(living[name].name)
        tasks.append(asyncio.ensure_future(revive(name, number + 1)))

    async def revive(name, number):
        await asyncio.sleep(world.chance.random() * 5)
        start(name, number)

    for name in REPLICAS:
        start(name)
    fates = asyncio.ensure_future(fate(world, kill))
    await asyncio.sleep(seconds)
    fates.cancel()
    world.heal()
    # Who declared that it acts alone takes that back after a flux, and others wait for another one.
    await asyncio.sleep(2 * PACE.flux + 15)
    hits = sum(replica.memory.hits for replica in living.values())
    await asyncio.sleep(5)
    history.hits = sum(replica.memory.hits for replica in living.values()) - hits
    history.trusted = [replica.coordinator.trusted for replica in living.values()]
    world.over.set()
    for task in tasks:
        if task.done():
            task.result()
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return history


@pytest.mark.parametrize("seed", range(10))
def test_no_answer_is_older_than_what_was_acknowledged(seed):
    history = simulate(run(seed))
    assert history.wrong == []
    assert history.trusted == [True] * 3, "it does not come back by itself"
    assert history.hits > 50, "nothing was ever answered from memory"
    assert history.writes > 40
