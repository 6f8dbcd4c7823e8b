"""The in-process coordinator keeps the contract."""

import pytest

from storage.inprocess import InProcessCoordinator
from storage.testing import CoordinatorContract


class TestInProcess(CoordinatorContract):
    @pytest.fixture
    async def parties(self):
        coordinator = InProcessCoordinator()
        return coordinator, coordinator


async def test_free_names_take_no_memory():
    coordinator = InProcessCoordinator()
    for number in range(1000):
        async with coordinator.hold(f"a{number}"), coordinator.change(f"a{number}"):
            pass
    assert coordinator._leases._waiting == {}
    assert coordinator._changes._waiting == {}
