"""The S3 driver keeps the contract, over MinIO and over SeaweedFS."""

import pytest

from storage.s3 import MIN_PART, PartPlan
from storage.testing import ContentStoreContract
from tests.fixtures.stores import empty, s3_store, settings_of

PARTS = PartPlan(first=MIN_PART)

pytestmark = pytest.mark.timeout(180)


class TestMinIO(ContentStoreContract):
    @pytest.fixture
    async def store(self, minio):
        async with s3_store(settings_of(minio, parts=PARTS)) as store:
            yield store


class TestSeaweedFS(ContentStoreContract):
    """One bucket for all, emptied each time: each new one takes volumes of its own."""

    @pytest.fixture
    async def store(self, seaweedfs):
        async with s3_store(settings_of(seaweedfs, bucket="contract", parts=PARTS)) as store:
            yield store
            await empty(store)
