"""A disk that can't read some files (EIO): all others are backed up, restored and scrubbed.

The error is put where the kernel would tell it: a test can't make a bad sector.
"""

import errno
import os

import pytest

from registry.service.backup import layout
from registry.service.backup.backups import Backups
from registry.service.records import Pointer
from registry.service.scrub.scrubber import Found, Scrubber
from registry.spec.digest import Digest
from registry.spec.names import Tag
from storage import keys
from storage.filesystem import FileStore
from storage.inprocess import InProcessCoordinator
from tests.backup.keeper import A, B, Registry
from tests.service.content import image

ONE, TWO, CONFIG = b"one layer" * 20_000, b"another" * 20_000, b"{}"
FIRST, SECOND = image(ONE), image(TWO)


@pytest.fixture
def bad(monkeypatch):
    """Files, by their inodes, that can be opened and not read."""
    inodes = set()

    def failing(read):
        def wrapped(fd, *arguments):
            if os.fstat(fd).st_ino in inodes:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return read(fd, *arguments)

        return wrapped

    monkeypatch.setattr(os, "read", failing(os.read))
    monkeypatch.setattr(os, "pread", failing(os.pread))
    return inodes


@pytest.fixture
def stores(tmp_path):
    opened = [FileStore(tmp_path / name) for name in ("source", "target", "other")]
    yield opened
    for store in opened:
        store.close()


@pytest.fixture
async def registry(stores):
    registry = Registry(stores[0])
    await registry.push(A, FIRST, ONE, CONFIG, tag="v1")
    await registry.push(B, SECOND, TWO, CONFIG, tag="v1")
    return registry


@pytest.fixture
def backups(stores):
    return Backups(stores[1], InProcessCoordinator(), files=True)


def inode(tmp_path, store, key):
    (found,) = [
        each.stat().st_ino
        for each in (tmp_path / store).rglob(key.rpartition("/")[2])
        if each.is_file() and str(each).endswith(key)
    ]
    return found


async def layer_key(store, data):
    pointer = await store.get(keys.pointer(Digest.of(data)))
    return Pointer.unpack(pointer.data)[0].data


async def tags(registry):
    found = {}
    for place in (A, B):
        listed = await registry.store.list(keys.tags(place), limit=10)
        found[place] = [keys.last_segment(each) for each in listed]
    return found


@pytest.mark.parametrize("what", ["layer", "manifest", "tag"])
async def test_what_can_not_be_read_is_told_and_the_rest_is_in_the_backup(
    registry, backups, stores, bad, tmp_path, what
):
    key = {
        "layer": await layer_key(registry.store, ONE),
        "manifest": keys.manifest(A, Digest.of(FIRST)),
        "tag": keys.tag(A, Tag("v1")),
    }[what]
    bad.add(inode(tmp_path, "source", key))
    told = []
    backup = await registry.backup(backups, files=True, missing=lambda *each: told.append(each))
    assert backup.summary.missing == len(told) >= 1
    assert all("Input/output error" in reason for _, reason in told)
    wrong = []
    await backups.verify([backup], lambda digest, _: wrong.append(digest))
    assert wrong == ([Digest.of(ONE)] if what == "layer" else []), "the image is there without it"
    other = Registry(stores[2])
    await other.restore(backups, backup)
    content = (await other.content())[B]
    assert (content[0], set(content[2].values())) == (
        {"v1": Digest.of(SECOND)},
        {TWO, CONFIG},
    )
    bad.clear()
    backup = await registry.backup(backups, files=True)
    assert backup.summary.missing == 0
    assert (await other.restore(backups, backup)).failed == 0
    assert await other.content() == await registry.content()


async def test_what_can_not_be_read_of_a_backup_is_told_and_the_rest_is_restored(
    registry, backups, stores, bad, tmp_path
):
    backup = await registry.backup(backups, files=True)
    bad.add(inode(tmp_path, "target", layout.blob(Digest.of(ONE))))
    wrong, failed = [], []
    await backups.verify([backup], lambda *each: wrong.append(each))
    assert [digest for digest, _ in wrong] == [Digest.of(ONE)]
    assert "Input/output error" in wrong[0][1]
    other = Registry(stores[2])
    restoring = other.restoring(backups, failed=lambda *each: failed.append(each))
    await restoring.restore(backup)
    assert [what for what, _ in failed] == [f"{A}@{Digest.of(ONE)}"]
    assert "Input/output error" in failed[0][1]
    assert (await other.content())[B] == (await registry.content())[B]
    bad.clear()
    assert (await other.restore(backups, backup)).failed == 0
    assert await other.content() == await registry.content()


async def test_a_scrub_tells_of_it_and_takes_nothing_away(registry, bad, tmp_path):
    key = await layer_key(registry.store, ONE)
    bad.add(inode(tmp_path, "source", key))

    async def scrub():
        told = []
        done = await Scrubber(
            registry.store, registry.coordinator, registry.terms, told.append
        ).scrub()
        return done, [(each.digest, each.found) for each in told]

    done, told = await scrub()
    assert done.ended
    assert told == [(Digest.of(ONE), Found.UNREADABLE)]
    bad.clear()
    assert (await scrub())[1] == []
    assert (await registry.content())[A][0] == {"v1": Digest.of(FIRST)}
