"""Backups in a bucket, of a registry over a bucket."""

from registry.service.backup.backups import Backups
from storage.inprocess import InProcessCoordinator
from tests.backup.keeper import Registry
from tests.backup.test_backups import filled
from tests.fixtures.stores import s3_store, settings_of


async def test_from_a_bucket_to_another_and_back(minio):
    async with (
        s3_store(settings_of(minio)) as source,
        s3_store(settings_of(minio)) as kept,
        s3_store(settings_of(minio)) as empty,
    ):
        registry = await filled(Registry(source))
        backups = Backups(kept, InProcessCoordinator())
        backup = await registry.backup(backups)
        assert (backup.summary.tags, backup.summary.missing) == (4, 0)
        assert (await registry.backup(backups)).summary.blobs == 0
        other = Registry(empty)
        assert (await other.restore(backups, backup)).failed == 0
        assert await other.content() == await registry.content()
        assert (await backups.remove(backup.id)).blobs == 0
        (last,) = await backups.all()
        wrong = []
        assert await backups.verify([last], lambda *told: wrong.append(told)) > 10
        assert wrong == []
