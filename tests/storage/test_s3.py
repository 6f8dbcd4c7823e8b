"""The S3 driver keeps the contract, over MinIO and over SeaweedFS."""

import dataclasses

import pytest

from storage.s3 import MIN_PART, PartPlan
from storage.testing import ContentStoreContract
from storage.testing.objects import LONGEST_KEY
from tests.fixtures.stores import s3_store, settings_of

PARTS = PartPlan(first=MIN_PART)

pytestmark = pytest.mark.timeout(180)


class TestMinIO(ContentStoreContract):
    @pytest.fixture
    async def store(self, minio):
        async with s3_store(settings_of(minio, parts=PARTS)) as store:
            yield store


class TestSeaweedFS(ContentStoreContract):
    """In a bucket for all, each below a prefix of its own: a bucket takes volumes there."""

    turns = 1  # who waits for a key there looks again each second

    @pytest.fixture
    async def store(self, seaweedfs, request):
        settings = settings_of(seaweedfs, parts=PARTS)
        callspec = getattr(request.node, "callspec", None)
        longest = callspec is not None and callspec.params.get("key") == LONGEST_KEY
        if not longest:  # it leaves room for no prefix
            prefix = f"{settings.bucket}/"
            settings = dataclasses.replace(settings, bucket="contract", prefix=prefix)
        async with s3_store(settings) as store:
            yield store
