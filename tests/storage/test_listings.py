"""Listings remember large directories, and are right all the same."""

import os
import random
import time

import pytest

from storage import _listing
from storage.filesystem import FileStore


@pytest.fixture
def store(tmp_path):
    store = FileStore(tmp_path / "store", threads=2)
    yield store
    store.close()


def make_old(path):
    """As if nothing had changed in the directory for a while."""
    os.utime(path, (time.time() - 10, time.time() - 10))


async def test_a_large_directory_that_did_not_change_is_read_once(store, tmp_path, monkeypatch):
    keys = [f"a/b/{number:03}" for number in range(100)]
    for key in keys:
        await store.put(key, b"", durable=False)
    make_old(tmp_path / "store/objects/a/b")
    assert list(await store.list("a/b/")) == keys
    monkeypatch.setattr(_listing.Listings, "_read", None)
    assert list(await store.list("a/b/")) == keys
    assert list(await store.list("a/b/", after="a/b/050", limit=3)) == keys[51:54]


async def test_a_directory_that_changed_just_now_is_not_remembered(store):
    for number in range(100):
        await store.put(f"a/b/{number:03}", b"", durable=False)
    await store.list("a/b/")
    assert store._listings._remembered == {}


async def test_every_kind_of_change_is_seen(store, tmp_path):
    other = FileStore(tmp_path / "store", threads=2)
    keys = {f"a/b/{number:03}" for number in range(100)}
    for key in keys:
        await store.put(key, b"", durable=False)

    async def check():
        for party in (store, other):
            assert list(await party.list("a/b/")) == sorted(keys)

    async def settle():
        make_old(tmp_path / "store/objects/a/b")
        await check()
        assert store._listings._remembered

    await settle()
    await other.create("a/b/new", b"1")
    keys.add("a/b/new")
    await check()
    await settle()
    await other.delete("a/b/new")
    keys.remove("a/b/new")
    await check()
    await settle()
    await other.put("a/b/050", b"changed")
    await check()
    await settle()
    await other.put("a/b/c/d", b"")
    keys.add("a/b/c/d")
    await check()
    await settle()
    await other.put("a/b/c/e", b"")
    keys.add("a/b/c/e")
    await check()
    for key in keys:
        await other.delete(key, durable=False)
    keys.clear()
    await check()
    other.close()


async def test_a_directory_made_while_names_are_read_is_no_object(store, tmp_path, monkeypatch):
    await store.put("a/b", b"")
    listdir = os.listdir

    def slow(fd):
        (tmp_path / "store/objects/a/c").mkdir(exist_ok=True)
        return listdir(fd)

    monkeypatch.setattr(os, "listdir", slow)
    assert list(await store.list("a/")) == ["a/b"]


async def test_changes_in_quick_succession_are_all_seen(store, monkeypatch):
    monkeypatch.setattr(_listing, "_WORTH", 1)
    monkeypatch.setattr(_listing, "_SETTLED", 20_000_000)
    random_one = random.Random(1)  # noqa: S311
    keys = {"a/stays"}
    await store.put("a/stays", b"", durable=False)
    hits = 0
    until = time.monotonic() + 2
    while time.monotonic() < until:
        key = f"a/{random_one.randrange(8)}"
        if key in keys:
            await store.delete(key, durable=False)
            keys.remove(key)
        else:
            await store.put(key, b"", durable=False)
            keys.add(key)
        if random_one.random() < 0.05:
            time.sleep(random_one.uniform(0, 0.04))
        for _ in range(2):
            assert list(await store.list("a/")) == sorted(keys)
            hits += bool(store._listings._remembered)
    assert hits > 5


async def test_no_more_is_remembered_than_allowed(store, tmp_path, monkeypatch):
    monkeypatch.setattr(_listing, "_REMEMBERED", 250)
    for directory in "abcd":
        for number in range(100):
            await store.put(f"x/{directory}/{number:03}", b"", durable=False)
        make_old(tmp_path / "store/objects/x" / directory)
    for _ in range(2):
        for directory in "abcd":
            assert len(await store.list(f"x/{directory}/")) == 100
            assert store._listings._total <= 250
            remembered = store._listings._remembered.values()
            assert store._listings._total == sum(len(names) for _, names in remembered)
