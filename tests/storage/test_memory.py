"""The memory driver keeps the contract."""

import pytest

from storage.memory import MemoryStore
from storage.testing import ContentStoreContract


class TestMemoryStore(ContentStoreContract):
    @pytest.fixture
    async def store(self):
        return MemoryStore()
