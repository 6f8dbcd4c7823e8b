"""Replicas in one process: each with coordinators of its own, over one store and one Redis."""

import asyncio
from contextlib import asynccontextmanager

from storage import _redis_table as layout
from storage._pace import PACE
from storage.bulletin import Bulletin
from storage.redis import RedisCoordinator
from storage.redis_address import RedisAccess, RedisAddress
from storage.replicas import ReplicaCoordinator

TIMEOUT = 0.5
"""Seconds within which Redis has to answer."""

QUICK = PACE.scaled(0.04)
"""A look each 40 ms, all know after 0.14 s, stamps count after 1.2 s."""


class Observer:
    """Remembers all that it was told."""

    def __init__(self):
        self.told = []

    def __getattr__(self, name):
        return lambda *arguments: self.told.append((name, *arguments))

    def count(self, name):
        return sum(each[0] == name for each in self.told)


class Replica:
    """The parts of one, for tests that look into it."""

    def __init__(self, redis, bulletin, coordinator, observer):
        self.redis, self.bulletin, self.observer = redis, bulletin, observer
        self.coordinator = coordinator
        self.hold, self.stamps = coordinator.hold, coordinator.stamps
        self.change = coordinator.change

    async def trusts(self, *names):
        return None not in await self.stamps(*(names or ("any",)))


@asynccontextmanager
async def replica(
    store, url, *, pace=QUICK, conditional=True, installation="test", timeout=TIMEOUT
):
    observer = Observer()
    bulletin = Bulletin(store, observer=observer, pace=pace)
    redis = RedisCoordinator(
        RedisAddress.parse(url),
        RedisAccess(timeout=timeout),
        installation=installation,
        terms=bulletin,
        observer=observer,
        pace=pace,
    )
    coordinator = ReplicaCoordinator(
        redis, bulletin, conditional=conditional, observer=observer, pace=pace
    )
    async with bulletin, redis, coordinator:
        yield Replica(redis, bulletin, coordinator, observer)


async def make_old(party):
    """Have the table be as old as can be, so that its stamps count at once."""
    await party._link.call("SETRANGE", party._table_key, layout.BORN, bytes(8))


async def until(true, seconds=60.0):
    """Wait until `await true()` is."""
    async with asyncio.timeout(seconds):
        while not await true():
            await asyncio.sleep(0.005)
