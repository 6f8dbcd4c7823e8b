"""Empty objects are names of one file: what may happen to it is not seen."""

import os
from contextlib import suppress
from pathlib import Path

import pytest

from storage import _disk, _empties
from storage.filesystem import FileStore
from storage.ports import Unavailable


@pytest.fixture
def root(tmp_path):
    return tmp_path / "store"


@pytest.fixture
def store(root):
    store = FileStore(root, threads=2)
    yield store
    store.close()


def inode(root, key):
    return (root / "objects" / key).stat().st_ino


async def test_empty_objects_of_one_moment_share_a_file(store, root):
    names = [f"a/{number}" for number in range(20)]
    for name in names:
        await store.put(name, b"")
    assert len({inode(root, name) for name in names}) == 5  # of 1, 2, 4, 8, 16 names
    await store.delete("a/10")
    assert (await store.get("a/11")).data == b""


async def test_a_later_one_gets_a_later_time(store, root, monkeypatch):
    monkeypatch.setattr(_empties, "_SECONDS", 0.0)
    await store.put("a/b", b"")
    os.utime(root / "objects/a/b", (1, 1))
    await store.put("a/b", b"")
    assert (await store.stat("a/b")).modified > 1
    assert list((root / "tmp").iterdir()) == []


async def test_what_was_not_empty_becomes_empty_and_the_other_way(store):
    for name in ("a/b", "a/c", "a/d"):
        await store.put(name, b"")
    await store.put("a/b", b"full")
    assert [(await store.get(name)).data for name in ("a/c", "a/d")] == [b"", b""]
    await store.put("a/b", b"")
    assert (await store.get("a/b")).data == b""


async def test_an_empty_object_put_again_leaves_no_name_behind(store, root):
    await store.put("a/a", b"")
    await store.put("a/b", b"")
    await store.put("a/b", b"")
    assert list((root / "tmp").iterdir()) == []


async def test_names_that_were_swept_away_cost_an_error_and_no_more(store, root):
    for number in range(4):
        await store.put(f"a/{number}", b"")
    for path in (root / "tmp").iterdir():
        path.unlink()
    for number in range(3):
        with suppress(Unavailable):
            await store.put(f"b/{number}", b"")
    await store.put("a/c", b"")
    assert (await store.get("a/c")).data == b""


async def test_no_file_is_named_before_its_count_of_names_is_synced(monkeypatch, root):
    monkeypatch.setattr(_disk, "orders_renames", lambda _: False)
    store, linked = FileStore(root, threads=2), []
    link, fsync, rename = os.link, os.fsync, os.rename

    def linking(source, *arguments, **named):
        link(source, *arguments, **named)
        linked.append(os.stat(source, dir_fd=named["src_dir_fd"]).st_ino)

    def syncing(fd):
        fsync(fd)
        linked[:] = [inode for inode in linked if inode != os.fstat(fd).st_ino]

    def renaming(source, *arguments, **named):
        assert os.stat(source, dir_fd=named["src_dir_fd"]).st_ino not in linked
        rename(source, *arguments, **named)

    for name, function in (("link", linking), ("fsync", syncing), ("rename", renaming)):
        monkeypatch.setattr(os, name, function)
    for number in range(20):
        await store.put(f"a/{number}", b"")
    assert linked == []
    store.close()


async def test_nothing_is_left_when_the_store_is_closed(root):
    store = FileStore(root, threads=2)
    for number in range(4):
        await store.put(f"a/{number}", b"")
    store.close()
    assert list(Path(root, "tmp").iterdir()) == []


async def test_tiny_objects_with_the_same_bytes_share_a_file_too(store, root):
    names = [f"a/{number}" for number in range(20)]
    for name in names:
        await store.put(name, b"mark 1")
        await store.put(f"{name}-empty", b"")
    assert len({inode(root, name) for name in names}) == 5
    await store.put("a/3", b"mark 2")
    assert (await store.get("a/3")).data == b"mark 2"
    assert {(await store.get(f"a/{number}")).data for number in (0, 1, 2, 4)} == {b"mark 1"}
    assert (await store.get("a/3-empty")).data == b""
    assert await store.put("a/4", b"mark 2") != (await store.stat("a/5")).version


async def test_names_of_a_content_that_is_no_longer_wanted_go(store, root):
    for number in range(40):
        await store.put(f"a/{number}", b"%d" % (number // 4))
    assert len(list((root / "tmp").iterdir())) == 9  # three of each of the last three
