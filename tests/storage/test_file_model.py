"""Random operations: the file system answers as the memory does, and lists as a sorted set."""

import asyncio
import tempfile
from pathlib import Path

from hypothesis import example, given, settings
from hypothesis import strategies as st

from storage.filesystem import FileStore
from storage.memory import MemoryStore
from tests.storage.model import AFTER, KEYS, NOTHING_MORE, OPERATIONS, STEMS, Driven


@settings(max_examples=60, deadline=None)
@given(st.lists(OPERATIONS, max_size=40))
@example(NOTHING_MORE)
def test_the_file_system_answers_as_the_memory_does(operations):
    async def run(root):
        files, memory = FileStore(root, threads=2), MemoryStore()
        one, other = Driven(files), Driven(memory)
        for operation in operations:
            assert await one.do(operation) == await other.do(operation), operation
        assert await files.list("k/") == await memory.list("k/")
        files.close()
        assert list((root / "tmp").iterdir()) == []

    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(run(Path(directory)))


@settings(max_examples=100, deadline=None)
@given(st.sets(KEYS, max_size=30), AFTER, st.integers(0, 12), STEMS)
def test_listings_are_slices_of_the_sorted_keys(keys, after, limit, stem):
    async def run(store):
        for key in keys:
            await store.put(key, b"", durable=False)
        prefix = "/".join(["k", *stem]) + "/"
        expected = sorted(key for key in keys if key.startswith(prefix) and key > after)
        assert list(await store.list(prefix, after=after, limit=limit)) == expected[:limit]
        return list(await store.list("k/"))

    with tempfile.TemporaryDirectory() as directory:
        files = FileStore(Path(directory), threads=2)
        assert asyncio.run(run(files)) == sorted(keys) == asyncio.run(run(MemoryStore()))
        files.close()
