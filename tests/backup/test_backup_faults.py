"""A fault at every call that backups and restores make to a store: what is told to be done is, what
broke off leaves nothing that counts, and the next try goes on."""

from itertools import count

import pytest

from registry.service.backup.backups import BackupUnknown
from registry.spec.conditions import Conditions
from registry.spec.digest import Digest
from storage.memory import MemoryStore
from storage.ports import Unavailable
from storage.testing import Crash, FaultyStore
from tests.backup.keeper import A, Registry, backups_in, pool_of
from tests.backup.test_backups import CONFIG, FIRST, LARGE, SECOND, SMALL
from tests.service.content import image

WHENS = ["before", "after", "half"]


async def two_images():
    registry = Registry()
    await registry.push(A, FIRST, LARGE, CONFIG, tag="v1")
    await registry.push(A, SECOND, SMALL, CONFIG, tag="v2")
    return registry


async def restores(backups, backup, content):
    other = Registry()
    assert (await other.restore(backups, backup)).failed == 0
    assert await other.content() == content


async def attempts(when, *, at_target):
    """Yield a registry, its content, the store of backups, and the store that fails once."""
    for n in count(1):
        registry, kept = await two_images(), MemoryStore()
        content = await registry.content()
        faulty = FaultyStore(kept if at_target else registry.store)
        if when == "crash":
            faulty.crash(n)
        else:
            faulty.fail(n, when=when)
        yield registry, content, kept, faulty
        if faulty.total < n:
            assert n > 20
            return


@pytest.mark.parametrize("at_target", [True, False])
@pytest.mark.parametrize("when", [*WHENS, "crash"])
async def test_a_backup_that_failed_anywhere_can_be_made_again(when, at_target):
    async for registry, content, kept, faulty in attempts(when, at_target=at_target):
        first, again = backups_in(faulty if at_target else kept), backups_in(kept)
        source = registry if at_target else Registry(faulty)
        try:
            await source.backup(first)
        except (Unavailable, Crash):
            # It may have been finished: then its answer was lost.
            for backup in await again.all():
                await restores(again, backup, content)
        done = await registry.backup(again)
        await restores(again, done, content)
        assert await again.verify(await again.all(), pytest.fail)
        await again.sweep()
        await restores(again, done, content)


@pytest.mark.parametrize("when", [*WHENS, "crash"])
async def test_a_removal_that_failed_anywhere_leaves_the_others_whole(when):
    for n in count(1):
        registry, kept = await two_images(), MemoryStore()
        backups = backups_in(kept)
        gone = await registry.backup(backups)
        await registry.push(A, image(b"new"), b"new", CONFIG, tag="v3")
        await registry.services.deletions.delete(A, Digest.of(FIRST), Conditions())
        stays, other = await registry.backup(backups), Registry()
        await other.restore(backups, stays)
        content = await other.content()
        faulty = FaultyStore(kept)
        if when == "crash":
            faulty.crash(n)
        else:
            faulty.fail(n, when=when)
        try:
            await backups_in(faulty).remove(gone.id)
        except (Unavailable, Crash):
            await restores(backups, stays, content)
            try:
                await backups.remove(gone.id)
            except BackupUnknown:  # it had got so far
                await backups.sweep()
        await restores(backups, stays, content)
        assert [each.id for each in await backups.all()] == [stays.id]
        assert await backups.verify([stays], pytest.fail) == len(await pool_of(backups))
        if faulty.total < n:
            assert n > 10
            return


@pytest.mark.parametrize("when", [*WHENS, "crash"])
async def test_a_restore_that_failed_anywhere_goes_on(when):
    registry, backups = await two_images(), backups_in()
    backup, content = await registry.backup(backups), await registry.content()
    for n in count(1):
        inner = MemoryStore()
        faulty = FaultyStore(inner)
        if when == "crash":
            faulty.crash(n)
        else:
            faulty.fail(n, when=when)
        try:
            await Registry(faulty).restore(backups, backup)
        except (Unavailable, Crash):
            other = Registry(inner)
            # No tag leads to what is not there, at any moment.
            for place, (tags, manifests, _) in (await other.content()).items():
                assert set(tags.values()) <= manifests, place
        other = Registry(inner)
        assert (await other.restore(backups, backup)).failed == 0
        assert await other.content() == content
        if faulty.total < n:
            assert n > 20
            return
