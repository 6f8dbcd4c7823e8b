"""The contracts of ``ContentStore`` and ``FileContent``, one test for each clause."""
# ruff: noqa: S101, D102 - tests: they assert, and their names say what

import asyncio
import os

import pytest

from storage.ports import (
    AlreadyExists,
    ContentStore,
    FileContent,
    InvalidKey,
    NotFound,
    Unavailable,
)
from storage.testing.objects import INVALID_KEYS, ObjectStoreContract

KEY = "data/ab/content"
SIZES = [0, 1, 4096, 65_536, 65_537, 3_000_000]
HALVES = [5, 100_000, 6_000_000]
"""The last is more than one part of a multipart upload has to have."""


def pattern(size: int, seed: int = 0) -> bytes:
    """Bytes in which no two places look alike for long."""
    block = b"".join(
        (number * 2_654_435_761 + seed & 0xFFFFFFFF).to_bytes(4, "big") for number in range(16_384)
    )
    return (block * (size // len(block) + 1))[:size]


async def store_content(store: ContentStore, key: str, data: bytes) -> int:
    """Write finished content."""
    async with store.append(key, "") as writer:
        await writer.write(data)
        return await writer.finish()


async def read_content(
    store: ContentStore, key: str, start: int = 0, end: int | None = None
) -> bytes:
    """Read content, or a range of it."""
    async with store.open(key, start, end) as reader:
        return b"".join([piece async for piece in reader])


async def assert_invisible(store: ContentStore, key: str) -> None:
    """Nothing is at ``key`` for any method."""
    with pytest.raises(NotFound):
        await store.get(key)
    with pytest.raises(NotFound):
        await store.stat(key)
    with pytest.raises(NotFound):
        async with store.open(key):
            pass
    assert list(await store.list(key.partition("/")[0] + "/")) == []


class ContentStoreContract(ObjectStoreContract):
    """Subclass it with a fixture ``store``: a driver with nothing in it."""

    @pytest.fixture
    async def store(self) -> ContentStore:
        """The driver under test, empty."""
        raise NotImplementedError

    # writing

    @pytest.mark.parametrize("size", SIZES)
    async def test_finished_content_is_read_back(self, store: ContentStore, size: int) -> None:
        data = pattern(size)
        assert await store_content(store, KEY, data) == size
        assert await read_content(store, KEY) == data

    async def test_finished_content_is_an_object_as_any_other(self, store: ContentStore) -> None:
        await store_content(store, KEY, b"hello")
        value = await store.get(KEY)
        stat = await store.stat(KEY)
        assert value.data == b"hello"
        assert (stat.size, stat.version) == (5, value.version)
        assert list(await store.list("data/")) == [KEY]
        await store.delete(KEY)
        await assert_invisible(store, KEY)

    async def test_stat_of_large_content_tells_its_size(self, store: ContentStore) -> None:
        await store_content(store, KEY, bytes(9_000_000))
        assert (await store.stat(KEY)).size == 9_000_000

    @pytest.mark.parametrize("size", SIZES[1:])
    async def test_unfinished_content_is_invisible(self, store: ContentStore, size: int) -> None:
        async with store.append(KEY, "") as writer:
            await writer.write(pattern(size))
            await assert_invisible(store, KEY)
            await writer.checkpoint()
            await assert_invisible(store, KEY)
        await assert_invisible(store, KEY)

    async def test_pieces_of_any_size_and_kind_are_taken_in_order(
        self, store: ContentStore
    ) -> None:
        data = pattern(1_500_000)
        async with store.append(KEY, "") as writer:
            await writer.write(data[:1])
            await writer.write(b"")
            await writer.write(bytearray(data[1:70_000]))
            await writer.write(memoryview(data)[70_000:1_400_000])
            await writer.write(memoryview(data[1_400_000:]))
            assert writer.offset == len(data)
            assert await writer.finish() == len(data)
        assert await read_content(store, KEY) == data

    @pytest.mark.parametrize("size", [10, 100_000])
    async def test_a_buffer_may_be_changed_once_write_returned(
        self, store: ContentStore, size: int
    ) -> None:
        buffer = bytearray(size)
        async with store.append(KEY, "") as writer:
            for number in range(5):
                buffer[:] = bytes([number]) * size
                await writer.write(buffer)
            buffer[:] = b"x" * size
            await writer.finish()
        expected = b"".join(bytes([number]) * size for number in range(5))
        assert await read_content(store, KEY) == expected

    async def test_the_offset_counts_the_bytes_taken(self, store: ContentStore) -> None:
        async with store.append(KEY, "") as writer:
            assert writer.offset == 0
            await writer.write(b"12345")
            assert writer.offset == 5
            progress = await writer.checkpoint()
        async with store.append(KEY, progress) as writer:
            assert writer.offset == 5
            await writer.write(b"678")
            assert writer.offset == 8

    async def test_nothing_can_be_written_after_finish(self, store: ContentStore) -> None:
        async with store.append(KEY, "") as writer:
            await writer.write(b"12345")
            await writer.finish()
            with pytest.raises(ValueError, match=KEY):
                await writer.write(b"6")
        assert await read_content(store, KEY) == b"12345"

    async def test_many_contents_are_written_at_once(self, store: ContentStore) -> None:
        async def one(number: int) -> None:
            data = pattern(150_000, number)
            async with store.append(f"data/{number}", "") as writer:
                for start in range(0, len(data), 20_000):
                    await writer.write(data[start : start + 20_000])
                await writer.finish()
            assert await read_content(store, f"data/{number}") == data

        await asyncio.gather(*[one(number) for number in range(12)])

    # resuming

    @pytest.mark.parametrize("size", HALVES)
    async def test_a_writer_goes_on_from_a_checkpoint(self, store: ContentStore, size: int) -> None:
        data = pattern(4 * size)
        progress = ""
        for start in range(0, len(data), size):
            async with store.append(KEY, progress) as writer:
                await writer.write(data[start : start + size])
                progress = await writer.checkpoint()
        async with store.append(KEY, progress) as writer:
            assert await writer.finish() == len(data)
        assert await read_content(store, KEY) == data

    @pytest.mark.parametrize("size", HALVES)
    async def test_bytes_beyond_the_progress_are_dropped(
        self, store: ContentStore, size: int
    ) -> None:
        async with store.append(KEY, "") as writer:
            await writer.write(b"a" * size)
            progress = await writer.checkpoint()
            await writer.write(b"b" * size)
            await writer.checkpoint()
            await writer.write(b"c" * size)
        async with store.append(KEY, progress) as writer:
            assert writer.offset == size
            await writer.write(b"d")
            await writer.finish()
        assert await read_content(store, KEY) == b"a" * size + b"d"

    async def test_no_progress_means_the_beginning(self, store: ContentStore) -> None:
        async with store.append(KEY, "") as writer:
            await writer.write(pattern(200_000))
            await writer.checkpoint()
        await store_content(store, KEY, b"short")
        assert await read_content(store, KEY) == b"short"

    async def test_a_checkpoint_of_nothing_is_the_beginning(self, store: ContentStore) -> None:
        async with store.append(KEY, "") as writer:
            progress = await writer.checkpoint()
        async with store.append(KEY, progress) as writer:
            assert writer.offset == 0
            await writer.write(b"1")
            assert await writer.finish() == 1

    async def test_an_error_loses_no_more_than_the_last_checkpoint(
        self, store: ContentStore
    ) -> None:
        progress = ""

        async def fail() -> None:
            nonlocal progress
            async with store.append(KEY, "") as writer:
                await writer.write(b"kept")
                progress = await writer.checkpoint()
                await writer.write(b"lost")
                raise RuntimeError

        with pytest.raises(RuntimeError):
            await fail()
        async with store.append(KEY, progress) as writer:
            assert await writer.finish() == 4
        assert await read_content(store, KEY) == b"kept"

    @pytest.mark.parametrize("steps", range(4))
    async def test_a_cancelled_write_leaves_the_checkpoint_whole(
        self, store: ContentStore, steps: int
    ) -> None:
        data = pattern(300_000)
        async with store.append(KEY, "") as writer:
            await writer.write(data[:100_000])
            progress = await writer.checkpoint()
            task = asyncio.ensure_future(writer.write(bytes(1_000_000)))
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
        async with store.append(KEY, progress) as writer:
            await writer.write(data[100_000:])
            await writer.finish()
        assert await read_content(store, KEY) == data

    async def test_progress_whose_bytes_are_gone_is_not_found(self, store: ContentStore) -> None:
        async with store.append(KEY, "") as writer:
            await writer.write(b"12345")
            progress = await writer.checkpoint()
        await store.abandon(KEY, progress)
        with pytest.raises(NotFound):
            async with store.append(KEY, progress):
                pass

    # finishing again

    @pytest.mark.parametrize("size", [0, *HALVES])
    async def test_finish_repeated_gives_the_same_answer(
        self, store: ContentStore, size: int
    ) -> None:
        data = pattern(size)
        async with store.append(KEY, "") as writer:
            await writer.write(data)
            progress = await writer.checkpoint()
            assert await writer.finish() == size
            assert await writer.finish() == size
        for _ in range(2):
            async with store.append(KEY, progress) as writer:
                assert await writer.finish() == size
        assert await read_content(store, KEY) == data

    @pytest.mark.parametrize("size", HALVES)
    async def test_finish_is_repeated_from_a_progress_before_the_end(
        self, store: ContentStore, size: int
    ) -> None:
        data = pattern(2 * size)
        async with store.append(KEY, "") as writer:
            await writer.write(data[:size])
            progress = await writer.checkpoint()
            await writer.write(data[size:])
            await writer.finish()
        for earlier in ("", progress):
            async with store.append(KEY, earlier) as writer:
                assert await writer.finish() == 2 * size
        assert await read_content(store, KEY) == data

    @pytest.mark.parametrize("size", HALVES)
    async def test_finished_content_may_be_written_again_with_the_same_bytes(
        self, store: ContentStore, size: int
    ) -> None:
        data = pattern(2 * size)
        async with store.append(KEY, "") as writer:
            await writer.write(data[:size])
            progress = await writer.checkpoint()
            await writer.write(data[size:])
            await writer.finish()
        for earlier, start in (("", 0), (progress, size)):
            async with store.append(KEY, earlier) as writer:
                assert writer.offset == start
                await writer.write(data[start:])
                assert await writer.finish() == 2 * size

    @pytest.mark.parametrize("size", HALVES)
    async def test_finished_content_is_never_changed(self, store: ContentStore, size: int) -> None:
        data = pattern(size)
        await store_content(store, KEY, data)
        for other in (b"x" + data[1:], data[:-1], data + b"x", b"x"):
            with pytest.raises(AlreadyExists):
                await store_content(store, KEY, other)
            assert await read_content(store, KEY) == data

    # giving up

    async def test_abandoned_content_is_gone(self, store: ContentStore) -> None:
        for size in (5, 100_000):
            async with store.append(KEY, "") as writer:
                await writer.write(bytes(size))
                progress = await writer.checkpoint()
            for _ in range(2):
                await store.abandon(KEY, progress)
            await assert_invisible(store, KEY)

    async def test_abandoning_leaves_finished_content(self, store: ContentStore) -> None:
        async with store.append(KEY, "") as writer:
            await writer.write(b"12345")
            progress = await writer.checkpoint()
            await writer.finish()
        await store.abandon(KEY, progress)
        assert await read_content(store, KEY) == b"12345"

    async def test_abandoning_what_never_was_is_no_error(self, store: ContentStore) -> None:
        await store.abandon(KEY, "")

    async def test_sweeping_takes_only_what_nobody_has_gone_on_with_for_so_long(
        self, store: ContentStore
    ) -> None:
        await store_content(store, "data/finished", pattern(100_000))
        async with store.append(KEY, "") as writer:
            await writer.write(pattern(100_000))
            progress = await writer.checkpoint()
        assert await store.sweep(3600) == 0
        async with store.append(KEY, progress) as writer:
            await writer.finish()
        await store.sweep(0)
        assert await store.sweep(0) == 0
        assert await read_content(store, KEY) == pattern(100_000)
        assert await read_content(store, "data/finished") == pattern(100_000)

    async def test_a_key_can_be_used_again_after_it_was_abandoned(
        self, store: ContentStore
    ) -> None:
        async with store.append(KEY, "") as writer:
            await writer.write(pattern(100_000))
            await store.abandon(KEY, await writer.checkpoint())
        await store_content(store, KEY, b"second")
        assert await read_content(store, KEY) == b"second"

    # reading

    @pytest.mark.parametrize(
        ("start", "end"),
        [
            (0, None),
            (0, 0),
            (0, 1),
            (5, 5),
            (1, 2_499_999),
            (1_048_575, 1_048_577),
            (2_500_000, None),
        ],
    )
    async def test_a_range_is_read(self, store: ContentStore, start: int, end: int | None) -> None:
        data = pattern(2_500_000)
        await store_content(store, KEY, data)
        assert await read_content(store, KEY, start, end) == data[start:end]

    async def test_readers_tell_the_whole_size_and_yield_small_pieces(
        self, store: ContentStore
    ) -> None:
        await store_content(store, KEY, bytes(2_500_000))
        async with store.open(KEY, 100, 2_000_000) as reader:
            assert reader.size == 2_500_000
            sizes = [len(piece) async for piece in reader]
        assert 0 < min(sizes) <= max(sizes) <= 1024 * 1024
        assert sum(sizes) == 2_000_000 - 100

    async def test_reading_what_is_missing_is_not_found(self, store: ContentStore) -> None:
        with pytest.raises(NotFound):
            async with store.open(KEY):
                pass

    @pytest.mark.parametrize(("start", "end"), [(0, 11), (11, None), (11, 12)])
    async def test_content_shorter_than_asked_is_unavailable(
        self, store: ContentStore, start: int, end: int | None
    ) -> None:
        await store_content(store, KEY, bytes(10))
        with pytest.raises(Unavailable):
            await read_content(store, KEY, start, end)

    @pytest.mark.parametrize(("start", "end"), [(-1, None), (3, 2)])
    async def test_a_range_that_is_none_is_a_value_error(
        self, store: ContentStore, start: int, end: int | None
    ) -> None:
        await store_content(store, KEY, bytes(10))
        with pytest.raises(ValueError, match=KEY):
            await read_content(store, KEY, start, end)

    async def test_content_deleted_while_it_is_read_is_never_cut_short(
        self, store: ContentStore
    ) -> None:
        data = pattern(3_000_000)
        await store_content(store, KEY, data)
        found = b""
        try:
            async with store.open(KEY) as reader:
                async for piece in reader:
                    found += piece
                    await store.delete(KEY)
        except Unavailable:
            return
        assert found == data

    async def test_an_invalid_content_key_is_refused(self, store: ContentStore) -> None:
        for key in INVALID_KEYS:
            with pytest.raises(InvalidKey):
                async with store.append(key, ""):
                    pass
            with pytest.raises(InvalidKey):
                async with store.open(key):
                    pass
            with pytest.raises(InvalidKey):
                await store.abandon(key, "")

    @pytest.mark.parametrize("progress", ["x", "-1", "1.5", "\u0661", " 1"])
    async def test_progress_that_no_writer_gave_is_a_value_error(
        self, store: ContentStore, progress: str
    ) -> None:
        with pytest.raises(ValueError, match=KEY):
            async with store.append(KEY, progress):
                pass


class FileContentContract:
    """Subclass it with a fixture ``files``: a ``ContentStore`` with ``FileContent``, empty."""

    @pytest.fixture
    async def files(self) -> ContentStore:
        """The driver under test, empty."""
        raise NotImplementedError

    async def test_finished_content_is_opened_as_a_file(self, files: ContentStore) -> None:
        data = pattern(100_000)
        await store_content(files, KEY, data)
        async with _files(files).open_file(KEY) as file:
            assert file.size == len(data)
            assert os.pread(file.fd, file.size + 1, 0) == data

    async def test_opening_what_is_missing_is_not_found(self, files: ContentStore) -> None:
        async with files.append(KEY, "") as writer:
            await writer.write(b"unfinished")
            await writer.checkpoint()
            for key in (KEY, "data/ab", "data"):
                with pytest.raises(NotFound):
                    async with _files(files).open_file(key):
                        pass

    async def test_an_invalid_key_is_not_opened(self, files: ContentStore) -> None:
        for key in INVALID_KEYS:
            with pytest.raises(InvalidKey):
                async with _files(files).open_file(key):
                    pass

    async def test_descriptors_are_closed_with_their_context(self, files: ContentStore) -> None:
        await store_content(files, KEY, b"12345")
        async with _files(files).open_file(KEY) as file:
            assert os.fstat(file.fd).st_size == 5
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(file.fd)

    async def test_a_file_that_is_deleted_can_be_read_to_its_end(self, files: ContentStore) -> None:
        await store_content(files, KEY, b"12345")
        async with _files(files).open_file(KEY) as file:
            await files.delete(KEY)
            assert os.pread(file.fd, 10, 0) == b"12345"

    @pytest.mark.parametrize("steps", range(5))
    async def test_a_cancelled_opening_leaves_no_descriptor(
        self, files: ContentStore, steps: int
    ) -> None:
        await store_content(files, KEY, b"12345")

        async def open_it() -> None:
            async with _files(files).open_file(KEY):
                await asyncio.sleep(0)

        await open_it()
        before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
        for _ in range(10):
            task = asyncio.ensure_future(open_it())
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
        assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def _files(store: object) -> FileContent:
    return store  # type: ignore[return-value]
