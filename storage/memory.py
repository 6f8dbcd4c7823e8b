"""An object store in the memory of one process: for tests, and for registries that may forget."""

# ruff: noqa: D102 - what each method does is said once, in the port

from bisect import bisect_left, bisect_right, insort
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import chain, count
from time import time
from typing import final

from storage._grammar import (
    check_items,
    check_key,
    check_prefix,
    check_range,
    check_value,
    parse_progress,
)
from storage.ports import (
    AlreadyExists,
    ContentReader,
    ContentStore,
    ContentWriter,
    Items,
    NotFound,
    PreconditionFailed,
    Stat,
    Unavailable,
    Value,
)

CHECKPOINT = 64 * 1024 * 1024

VALUE = 512 * 1024

PIECE = 1024 * 1024
"""Bytes that a reader yields at a time."""


class _Object:
    __slots__ = ("data", "modified", "version")

    def __init__(self, data: bytes, version: str) -> None:
        self.data = data
        self.version = version
        self.modified = time()


@final
class MemoryStore:
    """A ``ContentStore`` over a dictionary, and a sorted list of its keys.

    For one process and one event loop. Nothing survives the process, so ``durable`` means nothing
    here. No method ever waits, so each is one atomic step. A new key costs a shift of the sorted
    list: about 10 µs among 100,000 keys.
    """

    def __init__(self) -> None:
        self._objects: dict[str, _Object] = {}
        self._keys: list[str] = []
        self._partial: dict[str, dict[str, _Piece]] = {}
        self._versions = count(1)

    @property
    def value_bytes(self) -> int:
        return VALUE

    @property
    def checkpoint_bytes(self) -> int:
        return CHECKPOINT

    async def get(self, key: str) -> Value:
        found = self._find(key)
        return Value(found.data, found.version)

    async def stat(self, key: str) -> Stat:
        found = self._find(key)
        return Stat(len(found.data), found.version, found.modified)

    async def put(self, key: str, data: bytes, *, durable: bool = True) -> str:  # noqa: ARG002
        check_key(key)
        check_value(key, data)
        return self._store(key, bytes(data))

    async def put_all(self, *steps: Items, settled: bool = True) -> None:  # noqa: ARG002
        check_items(*steps)
        for key, data in chain(*steps):
            self._store(key, bytes(data))

    async def create(
        self,
        key: str,
        data: bytes,
        *,
        beside: Items = (),
        then: Items = (),
        durable: bool = True,  # noqa: ARG002
        settled: bool = True,  # noqa: ARG002
    ) -> str:
        check_items([(key, data)], beside, then)
        await self.put_all(beside)
        if key in self._objects:
            raise AlreadyExists(key)
        version = self._store(key, bytes(data))
        await self.put_all(then)
        return version

    async def replace(
        self,
        key: str,
        data: bytes,
        version: str,
        *,
        durable: bool = True,  # noqa: ARG002
    ) -> str:
        check_key(key)
        check_value(key, data)
        found = self._objects.get(key)
        if found is None or found.version != version:
            raise PreconditionFailed(key)
        return self._store(key, bytes(data))

    async def delete(
        self,
        key: str,
        *,
        version: str | None = None,
        durable: bool = True,  # noqa: ARG002
    ) -> bool:
        check_key(key)
        found = self._objects.get(key)
        if found is None:
            return False
        if version is not None and found.version != version:
            raise PreconditionFailed(key)
        del self._objects[key]
        del self._keys[bisect_left(self._keys, key)]
        return True

    async def list(self, prefix: str, *, after: str = "", limit: int = 1000) -> Sequence[str]:
        check_prefix(prefix)
        start = bisect_left(self._keys, prefix)
        if after >= prefix:
            start = bisect_right(self._keys, after)
        # "0" follows "/": the least string above all that start with the prefix
        end = bisect_left(self._keys, prefix[:-1] + "0")
        return self._keys[start : min(end, start + max(limit, 0))]

    @asynccontextmanager
    async def append(self, key: str, progress: str) -> AsyncIterator[ContentWriter]:
        check_key(key)
        offset = parse_progress(key, progress.partition(":")[0])
        if key in self._objects:
            start = _Piece(None, self._objects[key].data[:offset])
        elif offset == 0:
            start = _Piece(None, b"")
        else:
            try:
                start = self._partial[key][progress]
            except KeyError:
                raise NotFound(key) from None
        yield _Writer(self, key, start)

    async def abandon(self, key: str, progress: str) -> None:  # noqa: ARG002
        check_key(key)
        self._partial.pop(key, None)

    async def sweep(self, older: float) -> int:  # noqa: ARG002  no process outlives its memory
        return 0

    @asynccontextmanager
    async def open(
        self, key: str, start: int = 0, end: int | None = None
    ) -> AsyncIterator[ContentReader]:
        check_range(key, start, end)
        data = self._find(key).data
        end = len(data) if end is None else end
        if not start <= end <= len(data):
            raise Unavailable(key, f"it has {len(data)} bytes, not {max(start, end)}")
        yield _Reader(data, start, end)

    def checkpoint(self, key: str, last: "_Piece") -> str:
        """Keep a writer's bytes."""
        found = self._objects.get(key)
        if found is not None and found.data[: last.end] != last.whole():
            raise AlreadyExists(key)
        if last.end == 0:
            return ""
        progress = f"{last.end}:{next(self._versions):x}"
        if found is None:
            self._partial.setdefault(key, {})[progress] = last
        return progress

    def finish(self, key: str, last: "_Piece", *, wrote: bool) -> int:
        """Publish a writer's bytes; the bytes that are there already stand."""
        found = self._objects.get(key)
        if found is None:
            self._store(key, last.whole())
        elif wrote and found.data != last.whole():
            raise AlreadyExists(key)
        self._partial.pop(key, None)
        return len(self._objects[key].data)

    def _find(self, key: str) -> _Object:
        check_key(key)
        try:
            return self._objects[key]
        except KeyError:
            raise NotFound(key) from None

    def _store(self, key: str, data: bytes) -> str:
        found = self._objects.get(key)
        if found is None:
            insort(self._keys, key)
        elif found.data == data:
            version = found.version
            self._objects[key] = _Object(data, version)
            return version
        version = format(next(self._versions), "x")
        self._objects[key] = _Object(data, version)
        return version


class _Piece:
    """Some bytes of unfinished content, behind those of ``before``. Never changed.

    So two writers that went on from one progress (one had lost its lease) don't mix their bytes.
    """

    __slots__ = ("before", "data", "end")

    def __init__(self, before: "_Piece | None", data: bytes) -> None:
        self.before = before
        self.data = data
        self.end: int = (before.end if before else 0) + len(data)

    def whole(self) -> bytes:
        """The bytes up to the end of this piece."""
        pieces: list[bytes] = []
        piece: _Piece | None = self
        while piece is not None:
            pieces.append(piece.data)
            piece = piece.before
        return b"".join(reversed(pieces))


class _Writer:
    def __init__(self, store: MemoryStore, key: str, start: _Piece) -> None:
        self._store = store
        self._key = key
        self._last = start
        self._wrote = False
        self._finished: int | None = None

    @property
    def offset(self) -> int:
        return self._last.end

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._finished is not None:
            raise ValueError(f"{self._key}: it is finished")
        if data:
            self._last = _Piece(self._last, bytes(data))
            self._wrote = True

    async def checkpoint(self) -> str:
        if self._finished is not None:
            return str(self._finished)
        return self._store.checkpoint(self._key, self._last)

    async def finish(self, *, settled: bool = True) -> int:  # noqa: ARG002 - there is no disk
        if self._finished is None:
            self._finished = self._store.finish(self._key, self._last, wrote=self._wrote)
        return self._finished


class _Reader:
    def __init__(self, data: bytes, start: int, end: int) -> None:
        self._data = data
        self._start = start
        self._end = end

    @property
    def size(self) -> int:
        return len(self._data)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for start in range(self._start, self._end, PIECE):
            yield self._data[start : min(start + PIECE, self._end)]


_: type[ContentStore] = MemoryStore
