"""A store that fails when it is told to."""
# ruff: noqa: D102 - what each method does is said once, in the port

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Literal, TypeVar, cast

from storage.ports import (
    ContentReader,
    ContentStore,
    ContentWriter,
    FileContent,
    Items,
    OpenFile,
    Stat,
    Unavailable,
    Value,
)

T = TypeVar("T")
When = Literal["before", "after", "half"]


class Crash(BaseException):
    """The process ended here. No clean-up can happen: every later call raises it again."""


class Gate:
    """Where a call waits: ``reached`` is set when it came; ``open`` lets it go on."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self._opened = asyncio.Event()

    def open(self) -> None:
        """Let the call go on."""
        self._opened.set()

    async def enter(self) -> None:
        """Wait here until it is open."""
        self.reached.set()
        await self._opened.wait()


class _Fault:
    def __init__(
        self, nth: int, method: str | None, when: When, raises: Callable[[str], BaseException]
    ) -> None:
        self.left = nth
        self.method = method
        self.when = when
        self.raises = raises
        self.gate: Gate | None = None

    def strikes(self, method: str) -> bool:
        if self.method not in (None, method):
            return False
        self.left -= 1
        return self.left == 0


def _half(steps: Sequence[Items]) -> list[Items]:
    """The first half of the steps; of a single one, every other item, the first not among them."""
    return [steps[0][1::2]] if len(steps) == 1 else list(steps[: len(steps) // 2])


def _unavailable(key: str) -> BaseException:
    return Unavailable(key, "a fault that the test asked for")


def _crash(key: str) -> BaseException:
    return Crash(key)


class FaultyStore:
    """Any ``ContentStore``, with faults at the calls that a test names.

    Calls are numbered from 1 as they begin, all methods together, those of writers (``write``,
    ``checkpoint``, ``finish``) and readers (``read``) too. So a service is tested at every call::

        for n in count(1):
            store = FaultyStore(MemoryStore())
            store.fail(n, when="after")
            ...                       # run it, retry it, look at what is there
            if store.total < n:
                break

    ``when`` tells what a failing call does first: nothing (``"before"``), all of it
    (``"after"``: the answer is lost), or a part (``"half"``): of ``put_all`` and ``write`` about
    half, of ``create`` what is ``beside`` it, or the creation without ``then``; of all other calls
    nothing.
    """

    def __init__(self, inner: ContentStore) -> None:
        """Pass every call on to ``inner``."""
        self.inner = inner
        self.calls: Counter[str] = Counter()
        """How many calls of each method began."""
        self.log: list[tuple[str, str]] = []
        """Method and key of each call, in order."""
        self._faults: list[_Fault] = []
        self._dead: BaseException | None = None

    @property
    def total(self) -> int:
        """How many calls began."""
        return len(self.log)

    def fail(
        self,
        nth: int = 1,
        method: str | None = None,
        *,
        when: When = "before",
        raises: Callable[[str], BaseException] = _unavailable,
    ) -> None:
        """Make the ``nth`` call from now on, of ``method`` or of all, raise ``raises(key)``."""
        self._faults.append(_Fault(nth, method, when, raises))

    def crash(self, nth: int = 1, method: str | None = None, *, when: When = "before") -> None:
        """End the "process" at that call: it and all later ones raise ``Crash``.

        What is then there is in ``inner``; a new ``FaultyStore`` over it is the next process.
        """
        self.fail(nth, method, when=when, raises=_crash)

    def gate(self, nth: int = 1, method: str | None = None, *, when: When = "before") -> Gate:
        """Make that call wait, before or after its effect, until the gate is opened."""
        fault = _Fault(nth, method, when, _unavailable)
        fault.gate = Gate()
        self._faults.append(fault)
        return fault.gate

    async def step(
        self,
        method: str,
        key: str,
        call: Callable[[], Awaitable[T]],
        half: Callable[[], Awaitable[object]] | None = None,
    ) -> T:
        """Make one call, with the fault that strikes it."""
        if self._dead is not None:
            raise self._dead
        self.calls[method] += 1
        self.log.append((method, key))
        struck = [fault for fault in self._faults if fault.strikes(method)]
        if not struck:
            return await call()
        fault = struck[0]
        self._faults.remove(fault)
        if fault.gate is not None and fault.when == "before":
            await fault.gate.enter()
            return await call()
        result = None
        if fault.when == "after":
            result = await call()
        elif fault.when == "half" and half is not None:
            await half()
        if fault.gate is not None:
            await fault.gate.enter()
            return cast("T", result)
        error = fault.raises(key)
        if isinstance(error, Crash):
            self._dead = error
        raise error

    async def get(self, key: str) -> Value:
        return await self.step("get", key, lambda: self.inner.get(key))

    async def stat(self, key: str) -> Stat:
        return await self.step("stat", key, lambda: self.inner.stat(key))

    async def put(self, key: str, data: bytes, *, durable: bool = True) -> str:
        return await self.step("put", key, lambda: self.inner.put(key, data, durable=durable))

    async def put_all(self, *steps: Items, settled: bool = True) -> None:
        await self.step(
            "put_all",
            " ".join(key for items in steps for key, _ in items),
            lambda: self.inner.put_all(*steps, settled=settled),
            lambda: self.inner.put_all(*_half(steps)),
        )

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
        async def half() -> None:
            if beside:
                await self.inner.put_all(beside)
            elif then:
                await self.inner.create(key, data, durable=durable)

        return await self.step(
            "create",
            key,
            lambda: self.inner.create(
                key, data, beside=beside, then=then, durable=durable, settled=settled
            ),
            half,
        )

    async def replace(self, key: str, data: bytes, version: str, *, durable: bool = True) -> str:
        return await self.step(
            "replace", key, lambda: self.inner.replace(key, data, version, durable=durable)
        )

    async def delete(self, key: str, *, version: str | None = None, durable: bool = True) -> bool:
        return await self.step(
            "delete", key, lambda: self.inner.delete(key, version=version, durable=durable)
        )

    async def list(self, prefix: str, *, after: str = "", limit: int = 1000) -> Sequence[str]:
        return await self.step(
            "list", prefix, lambda: self.inner.list(prefix, after=after, limit=limit)
        )

    @property
    def value_bytes(self) -> int:
        return self.inner.value_bytes

    @property
    def checkpoint_bytes(self) -> int:
        return self.inner.checkpoint_bytes

    @asynccontextmanager
    async def append(self, key: str, progress: str) -> AsyncIterator[ContentWriter]:
        async with AsyncExitStack() as stack:
            context = self.inner.append(key, progress)
            writer = await self.step("append", key, lambda: stack.enter_async_context(context))
            yield _Writer(self, key, writer)

    async def abandon(self, key: str, progress: str) -> None:
        await self.step("abandon", key, lambda: self.inner.abandon(key, progress))

    async def sweep(self, older: float) -> int:
        return await self.step("sweep", "", lambda: self.inner.sweep(older))

    @asynccontextmanager
    async def open(
        self, key: str, start: int = 0, end: int | None = None
    ) -> AsyncIterator[ContentReader]:
        async with AsyncExitStack() as stack:
            context = self.inner.open(key, start, end)
            reader = await self.step("open", key, lambda: stack.enter_async_context(context))
            yield _Reader(self, key, reader)


class FaultyFiles(FaultyStore):
    """The same over a driver that has ``FileContent``."""

    @asynccontextmanager
    async def open_file(self, key: str) -> AsyncIterator[OpenFile]:
        async with AsyncExitStack() as stack:
            context = cast("FileContent", self.inner).open_file(key)
            yield await self.step("open_file", key, lambda: stack.enter_async_context(context))


def faulty(inner: ContentStore) -> FaultyStore:
    """Wrap ``inner``, with ``open_file`` if it has that."""
    return FaultyFiles(inner) if hasattr(inner, "open_file") else FaultyStore(inner)


class _Writer:
    def __init__(self, store: FaultyStore, key: str, inner: ContentWriter) -> None:
        self._store = store
        self._key = key
        self._inner = inner

    @property
    def offset(self) -> int:
        return self._inner.offset

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        first = memoryview(data)[: len(data) // 2]
        await self._store.step(
            "write", self._key, lambda: self._inner.write(data), lambda: self._inner.write(first)
        )

    async def checkpoint(self) -> str:
        return await self._store.step("checkpoint", self._key, self._inner.checkpoint)

    async def finish(self, *, settled: bool = True) -> int:
        return await self._store.step(
            "finish", self._key, lambda: self._inner.finish(settled=settled)
        )


class _Reader:
    def __init__(self, store: FaultyStore, key: str, inner: ContentReader) -> None:
        self._store = store
        self._key = key
        self._inner = inner

    @property
    def size(self) -> int:
        return self._inner.size

    async def __aiter__(self) -> AsyncIterator[bytes]:
        pieces = aiter(self._inner)

        async def read() -> bytes | None:
            return await anext(pieces, None)

        while (piece := await self._store.step("read", self._key, read)) is not None:
            yield piece


_contents: type[ContentStore] = FaultyStore
_files: type[FileContent] = FaultyFiles
