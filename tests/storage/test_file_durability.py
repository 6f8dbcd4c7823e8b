"""What a write returned is on the disk: every name and byte it needs was synced before.

The system calls of the driver are watched, and a disk is imagined on which only what was synced
survives a power loss, once as POSIX has it (a directory at a time) and once as a journal that keeps
the order of names has it (ext4, XFS). Pulling the plug for real is not in a test's power.
"""

import os
import stat
from pathlib import Path

import pytest

from storage import _disk
from storage._files import VOLATILE
from storage.filesystem import FileStore
from storage.ports import AlreadyExists, PreconditionFailed
from storage.testing.content import store_content


class Plug:
    """Knows what would be lost if the plug were pulled now."""

    def __init__(self, ordered):
        self.ordered = ordered
        self.unsynced = []
        self.synced = set()
        self.wrong = []
        self.fsyncs = 0

    def watch(self, monkeypatch):
        for name in ("rename", "unlink", "mkdir", "rmdir", "fsync", "fdatasync"):
            monkeypatch.setattr(os, name, self.watched(name, getattr(os, name)))
        write = os.pwrite

        def writing(fd, data, offset):
            self.synced.discard(os.fstat(fd).st_ino)
            return write(fd, data, offset)

        monkeypatch.setattr(os, "pwrite", writing)

    def watched(self, name, call):
        def watching(*arguments, **named):
            if name == "rename":
                self.check(arguments[0], named["src_dir_fd"])
            result = call(*arguments, **named)
            if name in ("fsync", "fdatasync"):
                self.fsync(arguments[0])
            else:
                directory = named.get("dst_dir_fd", named.get("dir_fd"))
                path = arguments[1 if name == "rename" else 0]
                place = Path(path).parent if directory is None else directory
                self.unsynced.append((name, path, os.stat(place).st_ino))  # noqa: PTH116
            return result

        return watching

    def check(self, name, directory):
        """A file gets its name only when its bytes are safe, or when they carry a hash."""
        status = os.stat(name, dir_fd=directory)
        safe = status.st_ino in self.synced or (self.ordered and status.st_size == 0)
        if not safe and stat.S_IMODE(status.st_mode) != VOLATILE:
            self.wrong.append(f"{name} was named before it was synced")
        earlier = [name for what, name, _ in self.unsynced if what == "rename"]
        if earlier and not self.ordered:
            self.wrong.append(f"{name} was named before the name {earlier} was synced")

    def fsync(self, fd):
        self.fsyncs += 1
        status = os.fstat(fd)
        self.synced.add(status.st_ino)
        self.unsynced = [
            change for change in self.unsynced if not self.ordered and change[2] != status.st_ino
        ]

    def safe(self):
        """Nothing that was acknowledged would be lost. What is gone can't come back by itself."""
        assert self.wrong == []
        objects = {path.stat().st_ino for path in [self.root, *self.root.glob("objects/**")]}
        assert [change for change in self.unsynced if change[2] in objects] == []


@pytest.fixture(params=[False, True], ids=["posix", "journal"])
def plug(request, monkeypatch, tmp_path):
    plug = Plug(request.param)
    plug.root = tmp_path / "store"
    monkeypatch.setattr(_disk, "orders_renames", lambda _: request.param)
    plug.store = FileStore(plug.root, threads=2)
    plug.watch(monkeypatch)
    yield plug
    monkeypatch.undo()
    plug.store.close()


@pytest.mark.parametrize("data", [b"", b"1", bytes(100_000)], ids=len)
async def test_writes_are_synced_before_they_return(plug, data):
    await plug.store.put("a/b/c/d", data)
    plug.safe()
    version = await plug.store.create("a/b/c/e", data)
    plug.safe()
    await plug.store.replace("a/b/c/e", b"other", version)
    plug.safe()
    await plug.store.put("a/b/x", data)
    plug.safe()


async def test_items_of_put_all_become_durable_in_order(plug):
    items = [("a/b/c", b"1"), ("d/e/f", b""), ("a/b/d", b"2"), ("g/h", b"")]
    await plug.store.put_all(items)
    plug.safe()
    await plug.store.put_all(*([item] for item in items))
    plug.safe()


async def test_items_that_need_not_be_settled_are_when_a_durable_write_follows(plug):
    await plug.store.put_all([("a/b/c", b""), ("d/e/f", b"")], [("a/b/d", b"2")], settled=False)
    assert plug.fsyncs == 1 if plug.ordered else plug.fsyncs >= 6
    await plug.store.create("g/h", b"1")
    plug.safe()


async def test_what_is_beside_a_create_becomes_durable_with_it(plug):
    for durable in (True, False):
        await plug.store.create(f"a/b/{durable}", b"1", beside=[("d/e/f", b"")], durable=durable)
        assert [change for change in plug.unsynced if change[1] == "f"] == []
        with pytest.raises(AlreadyExists):
            await plug.store.create(f"a/b/{durable}", b"", beside=[("d/g", b"")], durable=durable)
        assert [change for change in plug.unsynced if change[1] == "g"] == []
    await plug.store.create("a/b/c", b"1", beside=[("d/e/f", b"")], then=[("a/c/d", b"")])
    plug.safe()


async def test_a_create_that_need_not_be_settled_is_when_a_durable_write_follows(plug):
    items = {"beside": [("d/e/f", b"")], "then": [("a/c/d", b"")]}
    for data in (b"1", b"x" * 5000):
        plug.fsyncs = 0
        await plug.store.create(f"a/b/{len(data)}", data, **items, settled=False)
        assert plug.fsyncs <= 1 if plug.ordered else plug.fsyncs >= 3
        with pytest.raises(AlreadyExists):
            await plug.store.create(f"a/b/{len(data)}", data, **items, settled=False)
        await plug.store.put("g/h", b"1")
        plug.safe()


async def test_what_follows_a_create_becomes_durable_after_it(plug):
    await plug.store.create("a/b/c", b"1", then=[("d/e/f", b""), ("a/b/d", b"2")])
    plug.safe()
    assert plug.fsyncs == 3 if plug.ordered else plug.fsyncs >= 8


async def test_content_that_need_not_be_settled_is_when_a_durable_write_follows(plug):
    async with plug.store.append("data/a/b", "") as writer:
        await writer.write(bytes(100_000))
        await writer.finish(settled=False)
    assert plug.fsyncs == 1 if plug.ordered else plug.fsyncs >= 3
    await plug.store.create("a/b", b"1")
    plug.safe()


async def test_deletes_are_synced_before_they_return(plug):
    for name in ("d", "e", "f"):
        await plug.store.put(f"a/b/c/{name}", b"1")
    for name in ("d", "e", "f"):
        await plug.store.delete(f"a/b/c/{name}")
        plug.safe()
    assert not (plug.root / "objects/a/b").exists()


async def test_a_delete_that_another_began_is_synced(plug):
    await plug.store.put("a/b/c", b"1")
    await plug.store.put("a/b/d", b"1")
    (plug.root / "objects/a/b/c").unlink()
    await plug.store.delete("a/b/c")
    plug.safe()


async def test_content_is_synced_before_finish_and_checkpoint_return(plug):
    await store_content(plug.store, "data/a/small", b"1")
    plug.safe()
    await store_content(plug.store, "data/b/large", bytes(200_000))
    plug.safe()
    async with plug.store.append("data/c/parts", "") as writer:
        await writer.write(bytes(100_000))
        before = plug.fsyncs
        progress = await writer.checkpoint()
        assert plug.fsyncs - before == (1 if plug.ordered else 2)
    async with plug.store.append("data/c/parts", progress) as writer:
        await writer.write(b"1")
        await writer.finish()
    plug.safe()


@pytest.mark.parametrize("resumed", [False, True])
@pytest.mark.parametrize("more", [b"", b"1"])
async def test_content_is_synced_once_where_its_end_brings_no_byte(plug, resumed, more):
    async with plug.store.append("data/a/b", "") as writer:
        await writer.write(bytes(100_000))
        progress = await writer.checkpoint()
        if not resumed:
            plug.fsyncs = 0
            await writer.write(more)
            await writer.finish(settled=False)
    if resumed:
        async with plug.store.append("data/a/b", progress) as writer:
            plug.fsyncs = 0
            await writer.write(more)
            await writer.finish(settled=False)
    assert plug.fsyncs == len(more) if plug.ordered else plug.fsyncs >= 3
    await plug.store.create("a/b", b"1")
    plug.safe()


async def test_what_a_refusal_tells_of_is_durable(plug):
    """The one who was first may have died before its sync."""
    await plug.store.put("a/b/c", b"1", durable=False)
    with pytest.raises(AlreadyExists):
        await plug.store.create("a/b/c", b"1")
    plug.safe()
    with pytest.raises(PreconditionFailed):
        await plug.store.replace("a/b/c", b"1", "no")


async def test_content_finished_before_is_durable_when_finish_is_repeated(plug):
    await store_content(plug.store, "data/a/b", b"1")
    plug.unsynced.append(("rename", "b", os.stat(plug.root / "objects/data/a").st_ino))  # noqa: PTH116
    async with plug.store.append("data/a/b", "") as writer:
        assert await writer.finish() == 1
    plug.safe()


async def test_directories_made_by_another_are_synced(plug):
    """The other process may have died, or be slow, between making one and syncing it."""
    (plug.root / "objects/a/b/c").mkdir(parents=True)
    await plug.store.put("a/b/c/d", b"1")
    plug.safe()


async def test_a_write_that_need_not_be_durable_costs_no_sync(plug):
    await plug.store.put("a/b/c", b"1", durable=False)
    await plug.store.put("a/b/c", b"2", durable=False)
    await plug.store.delete("a/b/c", durable=False)
    version = await plug.store.create("a/b/c", b"3", durable=False)
    with pytest.raises(AlreadyExists):
        await plug.store.create("a/b/c", b"4", durable=False)
    await plug.store.replace("a/b/c", b"5", version, durable=False)
    assert plug.fsyncs == 0


async def test_a_journal_saves_syncs(plug):
    await plug.store.put_all([("a/b", b"1"), ("c/d", b""), ("e/f", b"")])
    assert plug.fsyncs == 2 if plug.ordered else plug.fsyncs >= 6
