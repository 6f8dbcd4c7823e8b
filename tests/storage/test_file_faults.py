"""What the operating system refuses reaches the caller as a plain error; nothing stays behind."""

import asyncio
import json
import os
import subprocess
import time

import pytest

from storage._root import Directory
from storage.filesystem import FileStore, StoreRefused
from storage.ports import InvalidKey, NotFound, Unavailable
from storage.testing.content import pattern, read_content, store_content


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 1 MiB."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small file system")
    path = tmp_path / "small"
    path.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", path], check=False)
    if mounted.returncode:
        pytest.skip("mounting is not allowed here")
    yield path
    subprocess.run(["umount", "--lazy", path], check=True)


@pytest.fixture
def store(tmp_path):
    store = FileStore(tmp_path / "store", threads=4)
    yield store
    store.close()


async def test_a_full_disk_refuses_writes_and_stores_nothing(small_disk):
    store = FileStore(small_disk / "store", threads=2)
    await store.put("a/b", b"before")
    calls = [
        lambda: store.put("a/b", bytes(2_000_000)),
        lambda: store.put("a/b", bytes(2_000_000), durable=False),
        lambda: store.put_all([("a/c", bytes(2_000_000))]),
        lambda: store.create("a/c", bytes(2_000_000)),
    ]
    for call in calls:
        with pytest.raises(Unavailable, match=r"^a/[bc]: the disk is full"):
            await call()
    assert (await store.get("a/b")).data == b"before"
    assert list(await store.list("a/")) == ["a/b"]
    assert list((small_disk / "store/tmp").iterdir()) == []
    await store.put("a/c", bytes(500_000))
    store.close()


async def test_content_goes_on_when_a_full_disk_has_space_again(small_disk):
    store = FileStore(small_disk / "store", threads=2)
    data = pattern(700_000)
    await store.put("a/b", bytes(600_000))
    async with store.append("data/a", "") as writer:
        await writer.write(data[:200_000])
        with pytest.raises(Unavailable, match="the disk is full"):
            await writer.write(data[200_000:])
        assert writer.offset == 200_000
        progress = await writer.checkpoint()
    await store.delete("a/b")
    async with store.append("data/a", progress) as writer:
        await writer.write(data[200_000:])
        assert await writer.finish() == len(data)
    assert await read_content(store, "data/a") == data
    store.close()


async def test_what_was_kept_in_memory_is_not_lost_when_the_first_write_fails(small_disk):
    store = FileStore(small_disk / "store", threads=2)
    await store.put("a/b", bytes(1_000_000))
    async with store.append("data/a", "") as writer:
        await writer.write(b"first" * 10_000)
        with pytest.raises(Unavailable):
            await writer.write(bytes(100_000))
        with pytest.raises(Unavailable):
            await writer.checkpoint()
        await store.delete("a/b")
        await writer.write(b"second")
        await writer.finish()
    assert await read_content(store, "data/a") == b"first" * 10_000 + b"second"
    store.close()


LIMITED = """
    import asyncio, resource, sys
    from pathlib import Path
    from storage.filesystem import FileStore
    from storage.ports import Unavailable

    async def main():
        store = FileStore(Path(sys.argv[1]), threads=2)
        await store.put("a/b", b"before")
        what, number = sys.argv[2], int(sys.argv[3])
        resource.setrlimit(getattr(resource, what), (number, number))
        for call in (lambda: store.put("a/b", bytes(100_000)), lambda: store.get("a/b")):
            try:
                print(len((await call())))
            except Unavailable as error:
                print(error)
            except TypeError:
                print("whole")

    asyncio.run(main())
"""


async def test_a_limit_on_the_size_of_files_is_named(tmp_path, start):
    child = start(LIMITED, tmp_path / "store", "RLIMIT_FSIZE", 50_000)
    assert "ulimit -f" in child.hear()
    assert child.hear() == "whole"


async def test_a_limit_on_open_files_is_named(tmp_path, start):
    child = start(LIMITED, tmp_path / "store", "RLIMIT_NOFILE", 5)
    assert "ulimit -n" in child.hear()
    assert "ulimit -n" in child.hear()


async def test_progress_that_the_disk_lost_is_not_found(store, tmp_path):
    async with store.append("data/a", "") as writer:
        await writer.write(bytes(100_000))
        progress = await writer.checkpoint()
    os.truncate(tmp_path / "store/partial/data~a", 99_999)
    with pytest.raises(NotFound):
        async with store.append("data/a", progress):
            pass


async def test_content_that_the_disk_cut_short_is_unavailable(store, tmp_path):
    await store_content(store, "data/a", bytes(1_000_000))
    async with store.open("data/a") as reader:
        os.truncate(tmp_path / "store/objects/data/a", 300_000)
        with pytest.raises(Unavailable, match="ends after 300000 of 1000000 bytes"):
            async for _ in reader:
                pass


# symbolic links


@pytest.fixture(params=[True, False], ids=["openat2", "segments"])
def linked(request, monkeypatch, tmp_path):
    """A store in which someone has put links that lead out of it."""
    if not request.param:
        monkeypatch.setattr("storage._root._has_openat2", False)
    store = FileStore(tmp_path / "store", threads=2)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    objects = tmp_path / "store/objects"
    (objects / "a").mkdir()
    (objects / "a/directory").symlink_to(outside)
    (objects / "a/file").symlink_to(outside / "secret")
    (objects / "a/fine").write_text("fine")
    (objects / "top").symlink_to(outside)
    yield store
    assert sorted(path.name for path in outside.iterdir()) == ["secret"]
    assert (outside / "secret").read_text() == "secret"
    store.close()


@pytest.mark.parametrize("key", ["a/directory/secret", "a/file", "top/secret"])
async def test_no_link_is_followed_out_of_the_store(linked, key):
    for call in (linked.get, linked.stat):
        with pytest.raises((NotFound, Unavailable)):
            await call(key)
    with pytest.raises((NotFound, Unavailable)):
        await read_content(linked, key)
    for call in (linked.put, linked.create):
        if key != "a/file":
            with pytest.raises((InvalidKey, Unavailable)):
                await call(key, b"x")
    if key != "a/file":
        with pytest.raises((InvalidKey, Unavailable)):
            await store_content(linked, key, b"x")


async def test_links_are_not_listed_through(linked):
    assert list(await linked.list("a/")) == ["a/directory", "a/file", "a/fine"]


# keys that the callers promise not to use


async def test_a_key_below_an_object_is_refused(store):
    await store.put("a/b", b"1")
    for key in ("a/b/c", "a/b/c/d"):
        with pytest.raises(InvalidKey):
            await store.put(key, b"2")
        with pytest.raises(NotFound):
            await store.get(key)
        await store.delete(key)
    assert (await store.get("a/b")).data == b"1"


async def test_an_object_in_a_directorys_place_is_refused(store):
    await store.put("a/b/c", b"1")
    with pytest.raises((InvalidKey, Unavailable)):
        await store.put("a/b", b"2")
    with pytest.raises(InvalidKey):
        await store.delete("a/b")
    assert (await store.get("a/b/c")).data == b"1"


# the directory itself


def test_a_directory_with_other_things_is_refused(tmp_path):
    (tmp_path / "holiday.jpg").write_text("")
    with pytest.raises(StoreRefused, match=r"holiday\.jpg.*empty directory"):
        FileStore(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["holiday.jpg"]


def test_a_fresh_mount_and_coordination_are_no_other_things(tmp_path):
    (tmp_path / "lost+found").mkdir()
    (tmp_path / "coordination").mkdir()
    FileStore(tmp_path).close()
    assert json.loads((tmp_path / "moorage.json").read_text()) == {"layout": 1}


def test_other_things_beside_a_marked_store_are_left_alone(tmp_path):
    FileStore(tmp_path).close()
    (tmp_path / "note.txt").write_text("mine")
    FileStore(tmp_path).close()
    assert (tmp_path / "note.txt").read_text() == "mine"


def test_a_start_cut_off_anywhere_is_made_good(tmp_path):
    for left in (["lock"], ["lock", "moorage.json.new"], ["lock", "tmp", "objects"]):
        root = tmp_path / "-".join(left)
        root.mkdir()
        for name in left:
            (root / name).mkdir() if name in ("tmp", "objects") else (root / name).write_text("{")
        FileStore(root).close()
        assert (root / "moorage.json").exists()


async def test_leftovers_are_swept_once_they_are_old(tmp_path, monkeypatch):
    FileStore(tmp_path).close()
    old, young = tmp_path / "tmp/old", tmp_path / "tmp/young"
    for path in (old, young):
        path.write_text("")
    later = time.time() + 2 * 3600
    os.utime(young, (later, later))
    monkeypatch.setattr("storage._disk.time", lambda: later)
    store = FileStore(tmp_path)
    for _ in range(200):
        if not old.exists():
            break
        await asyncio.sleep(0.01)
    assert [path.name for path in (tmp_path / "tmp").iterdir()] == ["young"]
    store.close()


async def test_an_old_file_that_is_being_taken_over_is_not_swept(tmp_path):
    FileStore(tmp_path).close()
    file = tmp_path / "of another"
    file.write_text("")
    os.utime(file, (1, 1))
    (tmp_path / "tmp/new").hardlink_to(file)
    store = FileStore(tmp_path)
    store._disk.sweep()
    assert (tmp_path / "tmp/new").exists()
    store.close()


async def test_empty_directories_do_not_pile_up(store, tmp_path):
    for number in range(5):
        await store.put(f"a/b{number}/c/d", b"")
        await store.delete(f"a/b{number}/c/d")
    assert list((tmp_path / "store/objects/a").iterdir()) == []


# many processes

INCREMENTS = """
    import asyncio, sys
    from pathlib import Path
    from storage.filesystem import FileStore
    from storage.ports import AlreadyExists, NotFound, PreconditionFailed

    async def increment(store):
        while True:
            try:
                value = await store.get("a/b/number")
                await store.replace("a/b/number", b"%d" % (int(value.data) + 1), value.version)
            except NotFound:
                try:
                    await store.create("a/b/number", b"1")
                except AlreadyExists:
                    continue
            except PreconditionFailed:
                continue
            return

    async def come_and_go(store):
        for _ in range(40):
            await store.put("a/c/d/e", b"1", durable=False)
            await store.delete("a/c/d/e", durable=False)

    async def main():
        store = FileStore(Path(sys.argv[1]), threads=4)
        for _ in range(10):
            await asyncio.gather(*[increment(store) for _ in range(4)])
        await come_and_go(store)

    asyncio.run(main())
"""


async def test_processes_lose_no_update_of_each_other(tmp_path, start):
    root = tmp_path / "new" / "store"
    children = [start(INCREMENTS, root) for _ in range(3)]
    assert [await asyncio.to_thread(child.end) for child in children] == [0, 0, 0]
    store = FileStore(root)
    assert (await store.get("a/b/number")).data == b"120"
    store.close()


async def test_small_content_costs_one_hop(store, monkeypatch):
    hops = []
    run = store._writing.run

    async def counted(function, *arguments, **named):
        hops.append(function.__name__)
        return await run(function, *arguments, **named)

    monkeypatch.setattr(type(store._writing), "run", lambda self, *a, **n: counted(*a, **n))
    await store_content(store, "data/a", bytes(65_536))
    assert hops == ["_finish"]


async def test_stat_of_content_reads_none_of_it(store, monkeypatch):
    await store_content(store, "data/a", bytes(100_000))
    monkeypatch.setattr("storage._files.read_all", None)
    assert (await store.stat("data/a")).size == 100_000


def test_openat2_is_used_where_the_kernel_has_it(tmp_path, monkeypatch):
    monkeypatch.setattr("storage._root._walk", None)
    fd = os.open(tmp_path, os.O_RDONLY)
    directory = Directory(fd)
    if not __import__("storage._root")._root._has_openat2:
        pytest.skip("no openat2 here")
    os.close(directory.open(".", os.O_RDONLY))
    directory.close()
