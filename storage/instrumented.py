"""A decorator for any driver: checks keys, times every operation, names it in its errors.

It gives what the inner driver gives and no more: ``instrument`` returns an object without
``append`` and ``open`` over a driver that has no content, without ``open_file`` over one whose
content is not in files, and without ``presign`` over one that serves nobody itself.
"""
# ruff: noqa: D102 - what each method does is said once, in the port

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from itertools import chain
from time import perf_counter
from typing import Protocol, TypeVar, cast

from storage._grammar import check_items, check_key, check_prefix, check_range, check_value
from storage.ports import (
    AlreadyExists,
    ContentReader,
    ContentStore,
    ContentWriter,
    FileContent,
    InvalidKey,
    Items,
    NotFound,
    ObjectStore,
    OpenFile,
    PreconditionFailed,
    PresignedStore,
    RelayedReader,
    Stat,
    StorageError,
    Unavailable,
    Value,
)

Store = TypeVar("Store", bound=ObjectStore)


class Observer(Protocol):
    """Told of each operation when it has ended. Must not raise, and must be quick."""

    def __call__(self, operation: str, outcome: str, seconds: float, size: int) -> None:
        """Take note of one operation.

        ``operation`` is a method of the ports (``get``, ``write``, ``read``…); ``outcome`` is
        ``ok``, ``missing``, ``conflict`` (a create, replace or delete that lost), ``unavailable``,
        ``cancelled`` or ``failed`` (a defect); ``size`` is the bytes of content it moved.
        """
        ...


class Beginning(Protocol):
    """Told of each operation when it begins, in the task that calls it. Must not raise."""

    def __call__(self, operation: str, key: str) -> Callable[[str, int], None] | None:
        """Return what is called with outcome and size when it has ended, as ``Observer`` is.

        ``key`` is the first of those it is about, not checked yet.
        """
        ...


def instrument(store: Store, observe: Observer, begin: Beginning | None = None) -> Store:
    """Return ``store`` with ``observe`` told of its operations, and the same capabilities."""
    kind: type[InstrumentedObjects] = InstrumentedObjects
    if hasattr(store, "append"):
        kind = InstrumentedContent
    if hasattr(store, "open_file"):
        kind = InstrumentedFiles
    if hasattr(store, "presign"):
        kind = InstrumentedPresigned
    return cast("Store", kind(store, _Meter(observe, begin)))


class _Operation:
    """One operation under way; ``size`` is set where it is known only at the end."""

    __slots__ = ("size",)

    def __init__(self, size: int) -> None:
        self.size = size


class _Meter:
    def __init__(self, observe: Observer, begin: Beginning | None) -> None:
        self._observe = observe
        self._begin = begin

    @contextmanager
    def measure(self, operation: str, key: str, size: int = 0) -> Iterator[_Operation]:
        outcome = "ok"
        start = perf_counter()
        step = _Operation(size)
        end = self._begin(operation, key) if self._begin is not None else None
        try:
            yield step
        except NotFound:
            outcome = "missing"
            raise
        except (AlreadyExists, PreconditionFailed):
            outcome = "conflict"
            raise
        except (InvalidKey, ValueError):
            outcome = "failed"
            raise
        except asyncio.CancelledError:
            outcome = "cancelled"
            raise
        except (StorageError, OSError) as error:
            outcome = "unavailable"
            raise Unavailable(key, f"{operation}: {_message(error)}") from error
        except BaseException:
            outcome = "failed"
            raise
        finally:
            self._observe(operation, outcome, perf_counter() - start, step.size)
            if end is not None:
                end(outcome, step.size)


def _message(error: Exception) -> str:
    text = str(error) or type(error).__name__
    return text.removeprefix(f"{error.key}: ") if isinstance(error, StorageError) else text


def _size(items: Items) -> int:
    return sum(len(data) for _, data in items)


class InstrumentedObjects:
    """An ``ObjectStore`` over another."""

    def __init__(self, inner: ObjectStore, meter: _Meter) -> None:
        """Measure each operation on ``inner``."""
        self._objects = inner
        self._meter = meter

    async def get(self, key: str) -> Value:
        with self._meter.measure("get", key) as step:
            check_key(key)
            value = await self._objects.get(key)
            step.size = len(value.data)
            return value

    async def stat(self, key: str) -> Stat:
        with self._meter.measure("stat", key):
            check_key(key)
            return await self._objects.stat(key)

    async def put(self, key: str, data: bytes, *, durable: bool = True) -> str:
        with self._meter.measure("put", key, len(data)):
            check_key(key)
            check_value(key, data)
            return await self._objects.put(key, data, durable=durable)

    async def put_all(self, *steps: Items, settled: bool = True) -> None:
        items = list(chain(*steps))
        with self._meter.measure("put_all", " ".join(key for key, _ in items), _size(items)):
            check_items(items)
            await self._objects.put_all(*steps, settled=settled)

    async def create(
        self,
        key: str,
        data: bytes,
        *,
        beside: Items = (),
        then: Items = (),
        durable: bool = True,
        settled: bool = True,
    ) -> str:
        items = [(key, data), *beside, *then]
        with self._meter.measure("create", key, _size(items)):
            check_items(items)
            return await self._objects.create(
                key, data, beside=beside, then=then, durable=durable, settled=settled
            )

    async def replace(self, key: str, data: bytes, version: str, *, durable: bool = True) -> str:
        with self._meter.measure("replace", key, len(data)):
            check_key(key)
            check_value(key, data)
            return await self._objects.replace(key, data, version, durable=durable)

    async def delete(self, key: str, *, version: str | None = None, durable: bool = True) -> bool:
        with self._meter.measure("delete", key):
            check_key(key)
            return await self._objects.delete(key, version=version, durable=durable)

    async def list(self, prefix: str, *, after: str = "", limit: int = 1000) -> Sequence[str]:
        with self._meter.measure("list", prefix):
            check_prefix(prefix)
            return await self._objects.list(prefix, after=after, limit=limit)


class InstrumentedContent(InstrumentedObjects):
    """A ``ContentStore`` over another."""

    def __init__(self, inner: ContentStore, meter: _Meter) -> None:
        """Measure each operation on ``inner``."""
        super().__init__(inner, meter)
        self._content = inner

    @property
    def value_bytes(self) -> int:
        return self._content.value_bytes

    @property
    def checkpoint_bytes(self) -> int:
        return self._content.checkpoint_bytes

    @asynccontextmanager
    async def append(self, key: str, progress: str) -> AsyncIterator[ContentWriter]:
        async with AsyncExitStack() as stack:
            with self._meter.measure("append", key):
                check_key(key)
                context = self._content.append(key, progress)
                writer = await stack.enter_async_context(context)
            yield _Writer(writer, key, self._meter)

    async def abandon(self, key: str, progress: str) -> None:
        with self._meter.measure("abandon", key):
            check_key(key)
            await self._content.abandon(key, progress)

    async def sweep(self, older: float) -> int:
        with self._meter.measure("sweep", ""):
            return await self._content.sweep(older)

    @asynccontextmanager
    async def open(
        self, key: str, start: int = 0, end: int | None = None
    ) -> AsyncIterator[ContentReader]:
        async with AsyncExitStack() as stack:
            with self._meter.measure("open", key):
                check_key(key)
                check_range(key, start, end)
                context = self._content.open(key, start, end)
                reader = await stack.enter_async_context(context)
            if isinstance(reader, RelayedReader):
                yield _RelayedReader(reader, key, self._meter)
            else:
                yield _Reader(reader, key, self._meter)


class InstrumentedFiles(InstrumentedContent):
    """A ``ContentStore`` with ``FileContent`` over another."""

    def __init__(self, inner: ContentStore, meter: _Meter) -> None:
        """Measure each operation on ``inner``, which must have ``open_file``."""
        super().__init__(inner, meter)
        self._files = cast("FileContent", inner)

    @asynccontextmanager
    async def open_file(self, key: str) -> AsyncIterator[OpenFile]:
        async with AsyncExitStack() as stack:
            with self._meter.measure("open_file", key):
                check_key(key)
                context = self._files.open_file(key)
                file = await stack.enter_async_context(context)
            yield file


class InstrumentedPresigned(InstrumentedContent):
    """A ``ContentStore`` with ``PresignedStore`` over another."""

    def __init__(self, inner: ContentStore, meter: _Meter) -> None:
        """Measure each operation on ``inner``, which must have ``presign``."""
        super().__init__(inner, meter)
        self._presigned = cast("PresignedStore", inner)

    async def presign(self, key: str, *, seconds: int, headers: Mapping[str, str]) -> str:
        with self._meter.measure("presign", key):
            check_key(key)
            return await self._presigned.presign(key, seconds=seconds, headers=headers)


class _Writer:
    def __init__(self, inner: ContentWriter, key: str, meter: _Meter) -> None:
        self._inner = inner
        self._key = key
        self._meter = meter

    @property
    def offset(self) -> int:
        return self._inner.offset

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        size = data.nbytes if isinstance(data, memoryview) else len(data)
        with self._meter.measure("write", self._key, size):
            await self._inner.write(data)

    async def checkpoint(self) -> str:
        with self._meter.measure("checkpoint", self._key):
            return await self._inner.checkpoint()

    async def finish(self, *, settled: bool = True) -> int:
        with self._meter.measure("finish", self._key):
            return await self._inner.finish(settled=settled)


class _Reader:
    def __init__(self, inner: ContentReader, key: str, meter: _Meter) -> None:
        self._inner = inner
        self._key = key
        self._meter = meter

    @property
    def size(self) -> int:
        return self._inner.size

    async def __aiter__(self) -> AsyncIterator[bytes]:
        pieces = aiter(self._inner)
        while True:
            with self._meter.measure("read", self._key) as step:
                piece = await anext(pieces, None)
                step.size = len(piece or b"")
            if piece is None:
                return
            yield piece


class _RelayedReader(_Reader):
    _inner: RelayedReader

    async def relay(self, sink: int, idle_seconds: float) -> int:
        # How long that takes, and that it fails, is the client's doing.
        sent = await self._inner.relay(sink, idle_seconds)
        with self._meter.measure("read", self._key) as step:
            step.size = sent
        return sent


_contents: type[ContentStore] = InstrumentedContent
_files: type[FileContent] = InstrumentedFiles
_presigned: type[PresignedStore] = InstrumentedPresigned
