"""For whoever writes a driver, or tests what stands on one.

A driver's test is a subclass of the contract with one fixture::

    class TestMemory(ContentStoreContract):
        @pytest.fixture
        async def store(self) -> ContentStore:
            return MemoryStore()

``FaultyStore`` wraps a driver and makes its calls fail, hang, lose their answer, or end the
"process". Needs pytest with ``asyncio_mode = "auto"``.
"""

import pytest

pytest.register_assert_rewrite(
    "storage.testing.objects",
    "storage.testing.content",
    "storage.testing.coordination",
    "storage.testing.layout",
)

from storage.testing.content import (  # noqa: E402 - after the registration above
    ContentStoreContract,
    FileContentContract,
)
from storage.testing.coordination import CoordinatorContract  # noqa: E402
from storage.testing.faults import Crash, FaultyFiles, FaultyStore, Gate, faulty  # noqa: E402
from storage.testing.layout import LayoutContract, StorePlace  # noqa: E402
from storage.testing.objects import INVALID_KEYS, ObjectStoreContract  # noqa: E402

__all__ = [
    "INVALID_KEYS",
    "ContentStoreContract",
    "CoordinatorContract",
    "Crash",
    "FaultyFiles",
    "FaultyStore",
    "FileContentContract",
    "Gate",
    "LayoutContract",
    "ObjectStoreContract",
    "StorePlace",
    "faulty",
]
