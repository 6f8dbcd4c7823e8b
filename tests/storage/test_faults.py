"""The faulty store fails as told, and passes everything else on."""

import asyncio
from itertools import count

import pytest

from storage.filesystem import FileStore
from storage.memory import MemoryStore
from storage.ports import NotFound, Unavailable
from storage.testing import ContentStoreContract, Crash, FaultyStore, FileContentContract, faulty


class TestFaultyStoreWithoutFaults(ContentStoreContract):
    @pytest.fixture
    async def store(self):
        return FaultyStore(MemoryStore())


class TestFaultyFilesWithoutFaults(FileContentContract):
    @pytest.fixture
    async def files(self, tmp_path):
        inner = FileStore(tmp_path / "store")
        yield faulty(inner)
        inner.close()


async def scenario(store):
    await store.put("a/b", b"1")
    value = await store.get("a/b")
    await store.replace("a/b", b"2", value.version)
    await store.put_all([("a/c", b"1"), ("a/d", b"2")])
    async with store.append("x/y", "") as writer:
        await writer.write(b"1234")
        await writer.checkpoint()
        await writer.finish()
    async with store.open("x/y") as reader:
        assert [piece async for piece in reader] == [b"1234"]
    await store.delete("a/b")


async def test_every_call_is_counted_and_logged():
    store = FaultyStore(MemoryStore())
    await scenario(store)
    assert [method for method, _ in store.log] == [
        "put", "get", "replace", "put_all", "append", "write", "checkpoint", "finish",
        "open", "read", "read", "delete",
    ]  # fmt: skip
    assert store.total == 12
    assert store.calls["read"] == 2
    assert store.log[3] == ("put_all", "a/c a/d")


@pytest.mark.parametrize("when", ["before", "after", "half"])
async def test_each_call_can_fail(when):
    for n in count(1):
        store = FaultyStore(MemoryStore())
        store.fail(n, when=when)
        if n > 12:
            await scenario(store)
            break
        with pytest.raises(Unavailable):
            await scenario(store)
        assert store.total == n


async def test_a_fault_before_has_no_effect_and_one_after_has_all():
    store = FaultyStore(MemoryStore())
    store.fail(method="put")
    with pytest.raises(Unavailable):
        await store.put("a/b", b"1")
    with pytest.raises(NotFound):
        await store.get("a/b")
    store.fail(method="put", when="after")
    with pytest.raises(Unavailable):
        await store.put("a/b", b"1")
    assert (await store.get("a/b")).data == b"1"


async def test_half_of_put_all_of_create_and_of_write_is_done():
    store = FaultyStore(MemoryStore())
    store.fail(method="put_all", when="half")
    with pytest.raises(Unavailable):
        await store.put_all([("a/b", b"1")], [("a/c", b"2")])
    assert list(await store.list("a/")) == ["a/b"]
    store.fail(method="put_all", when="half")
    with pytest.raises(Unavailable):
        await store.put_all([("b/b", b"1"), ("b/c", b"2")])
    assert list(await store.list("b/")) == ["b/c"]
    store.fail(method="create", when="half")
    with pytest.raises(Unavailable):
        await store.create("c/b", b"1", beside=[("c/c", b"")], then=[("c/d", b"")])
    assert list(await store.list("c/")) == ["c/c"]
    async with store.append("x/y", "") as writer:
        store.fail(method="write", when="half")
        with pytest.raises(Unavailable):
            await writer.write(b"1234")
        assert writer.offset == 2


async def test_the_nth_call_of_a_method_fails_once():
    store = FaultyStore(MemoryStore())
    await store.put("a/b", b"1")
    store.fail(2, "get", raises=TimeoutError)
    await store.get("a/b")
    await store.stat("a/b")
    with pytest.raises(TimeoutError):
        await store.get("a/b")
    await store.get("a/b")


async def test_after_a_crash_nothing_can_be_cleaned_up():
    inner = MemoryStore()
    store = FaultyStore(inner)

    async def work():
        try:
            await store.put("a/b", b"1")
            await store.put("a/c", b"2")
        finally:
            await store.delete("a/b")

    store.crash(2, when="after")
    with pytest.raises(Crash):
        await work()
    assert list(await inner.list("a/")) == ["a/b", "a/c"]
    assert list(await FaultyStore(inner).list("a/")) == ["a/b", "a/c"]


async def test_a_gate_stops_a_call_before_or_after_its_effect():
    store = FaultyStore(MemoryStore())
    for when, there in (("before", []), ("after", ["a/after"])):
        gate = store.gate(method="put", when=when)
        task = asyncio.ensure_future(store.put(f"a/{when}", b""))
        await gate.reached.wait()
        assert [key for key in await store.list("a/") if when in key] == there
        assert not task.done()
        gate.open()
        await task
        await store.get(f"a/{when}")
