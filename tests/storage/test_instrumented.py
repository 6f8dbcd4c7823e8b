"""The instrumented store is a store; it tells what happened, and has no capability of its own."""

import asyncio

import pytest

from storage.filesystem import FileStore
from storage.instrumented import instrument
from storage.memory import MemoryStore
from storage.ports import AlreadyExists, InvalidKey, NotFound, Unavailable
from storage.testing import ContentStoreContract, FaultyStore, FileContentContract


class Told(list):
    def __call__(self, operation, outcome, seconds, size):
        assert seconds >= 0
        self.append((operation, outcome, size))


class Unchecked:
    """A driver that accepts any key, as a careless third party's might."""

    def __getattr__(self, name):
        raise AttributeError(f"{name} reached the driver")


class TestInstrumentedMemory(ContentStoreContract):
    @pytest.fixture
    async def store(self):
        return instrument(MemoryStore(), Told())


class TestInstrumentedFiles(ContentStoreContract):
    @pytest.fixture
    async def store(self, tmp_path):
        inner = FileStore(tmp_path / "store", threads=8)
        yield instrument(inner, Told())
        inner.close()


class TestInstrumentedOpenFile(FileContentContract):
    @pytest.fixture
    async def files(self, tmp_path):
        inner = FileStore(tmp_path / "store", threads=8)
        yield instrument(inner, Told())
        inner.close()


async def test_each_operation_is_told_with_outcome_and_size():
    told = Told()
    store = instrument(MemoryStore(), told)
    version = await store.put("a/b", b"123")
    await store.put_all([("a/c", b"1"), ("a/d", b"22")])
    await store.get("a/b")
    await store.stat("a/b")
    await store.list("a/")
    await store.replace("a/b", b"1234", version)
    await store.delete("a/b")
    async with store.append("x/y", "") as writer:
        await writer.write(b"12345")
        await writer.checkpoint()
        await writer.finish()
    async with store.open("x/y") as reader:
        assert [piece async for piece in reader] == [b"12345"]
    await store.abandon("x/z", "")
    assert told == [
        ("put", "ok", 3), ("put_all", "ok", 3), ("get", "ok", 3), ("stat", "ok", 0),
        ("list", "ok", 0), ("replace", "ok", 4), ("delete", "ok", 0), ("append", "ok", 0),
        ("write", "ok", 5), ("checkpoint", "ok", 0), ("finish", "ok", 0), ("open", "ok", 0),
        ("read", "ok", 5), ("read", "ok", 0), ("abandon", "ok", 0),
    ]  # fmt: skip


async def test_refusals_and_defects_are_told_apart():
    told = Told()
    inner = FaultyStore(MemoryStore())
    store = instrument(inner, told)
    with pytest.raises(NotFound):
        await store.get("a/b")
    await store.create("a/b", b"")
    with pytest.raises(AlreadyExists):
        await store.create("a/b", b"")
    with pytest.raises(InvalidKey):
        await store.get("..")
    inner.fail()
    with pytest.raises(Unavailable):
        await store.get("a/b")
    inner.gate()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await store.get("a/b")
    inner.fail(raises=lambda _: ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        await store.get("a/b")
    assert [outcome for _, outcome, _ in told] == [
        "missing", "ok", "conflict", "failed", "unavailable", "cancelled", "failed",
    ]  # fmt: skip


async def test_errors_name_operation_and_key():
    inner = FaultyStore(MemoryStore())
    store = instrument(inner, Told())
    inner.fail()
    with pytest.raises(Unavailable, match=r"^a/b: put: a fault"):
        await store.put("a/b", b"")
    inner.fail(raises=lambda _: OSError(5, "Input/output error"))
    with pytest.raises(Unavailable, match=r"^a/b: stat: .*Input/output error"):
        await store.stat("a/b")
    inner.fail(raises=lambda _: TimeoutError())
    with pytest.raises(Unavailable, match=r"^a/b: get: TimeoutError"):
        await store.get("a/b")


async def test_a_bad_key_never_reaches_the_driver():
    store = instrument(Unchecked(), Told())
    for call in (store.get("../a"), store.put("a/", b""), store.delete(""), store.list("a")):
        with pytest.raises(InvalidKey):
            await call


def test_a_capability_that_the_driver_lacks_does_not_appear(tmp_path):
    class Objects:
        pass

    objects = instrument(Objects(), Told())
    assert not hasattr(objects, "append")
    assert not hasattr(objects, "open")
    assert not hasattr(instrument(MemoryStore(), Told()), "open_file")
    assert hasattr(instrument(MemoryStore(), Told()), "append")
    files = FileStore(tmp_path / "store")
    assert hasattr(instrument(files, Told()), "open_file")
    files.close()
