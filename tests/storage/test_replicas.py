"""Replicas keep the contract through Redis, and what matters of it without."""

import pytest

from storage._pace import Pace
from storage.memory import MemoryStore
from storage.testing import CoordinatorContract
from tests.storage.replicas import make_old, replica, until


@pytest.fixture(scope="module")
def server(module_redis_servers):
    return module_redis_servers.server()


@pytest.fixture(scope="module")
def store():
    return MemoryStore()


STEADY = Pace(look=0.2, look_limit=0.5, valid=1.0, notice=1.2)
"""Looks that a busy machine can keep up with, and locks that it does not lose."""


class TestReplicas(CoordinatorContract):
    @pytest.fixture
    async def parties(self, store, server):
        options = {"pace": STEADY, "timeout": 5}
        async with replica(store, server.url, **options) as early:
            await early.redis.wait_usable()
            await make_old(early.redis)
        async with (
            replica(store, server.url, **options) as one,
            replica(store, server.url, **options) as other,
        ):
            await until(one.trusts)
            await until(other.trusts)
            yield one, other
