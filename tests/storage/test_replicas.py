"""Replicas keep the contract through Redis, and what matters of it without."""

import pytest

from storage.memory import MemoryStore
from storage.testing import CoordinatorContract
from tests.storage.replicas import replica, until


@pytest.fixture(scope="module")
def server(module_redis_servers):
    return module_redis_servers.server()


@pytest.fixture(scope="module")
def store():
    return MemoryStore()


class TestReplicas(CoordinatorContract):
    @pytest.fixture
    async def parties(self, store, server):
        async with replica(store, server.url) as one, replica(store, server.url) as other:
            await until(one.trusts)
            await until(other.trusts)
            yield one, other
