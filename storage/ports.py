"""What the registry asks of an object store, split by capability.

A driver is any class that has these methods; it needs no import of this module but for the errors.
``storage.testing`` holds the contract suite that says the same as these docstrings, clause by
clause.

Keys are relative paths of segments joined by ``/``. A segment is 1 to 255 characters of
``A-Z a-z 0-9 . _ : = ! -``, and never ``.`` or ``..``; a key has at most 1,024 characters (the
limit of S3). ``InvalidKey`` is raised for any other, before anything is done. No key is ever a
directory of another (``a/b`` and ``a/b/c`` never both exist): ``storage.keys`` builds them so, and
a driver may rely on it.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

MAX_VALUE = 8 * 1024 * 1024
"""The largest value, in bytes, that ``ObjectStore`` writes take; larger content is appended.

A larger one is a defect of the caller: ``ValueError``, and nothing is written.
"""

MAX_KEY = 1024
"""The longest key, in characters."""


class StorageError(Exception):
    """Any failure of a store. ``key`` names the object that was asked for."""

    def __init__(self, key: str, message: str) -> None:
        super().__init__(f"{key}: {message}")
        self.key = key


class NotFound(StorageError):
    """Nothing is stored at the key. The one answer to a missing key, from every driver."""

    def __init__(self, key: str) -> None:
        super().__init__(key, "nothing is stored there")


class AlreadyExists(StorageError):
    """``create`` met an object: another writer was first, and what it wrote stands."""

    def __init__(self, key: str) -> None:
        super().__init__(key, "an object is there already")


class PreconditionFailed(StorageError):
    """A compare-and-swap lost: the object is not, or no longer, at the expected version."""

    def __init__(self, key: str) -> None:
        super().__init__(key, "it is no longer at the expected version")


class InvalidKey(StorageError):
    """The key breaks the grammar above: a defect of the caller, never of a client's request."""

    def __init__(self, key: str) -> None:
        super().__init__(key, "not a storage key")


class Unavailable(StorageError):
    """The store can't answer now (disk full, I/O error, time-out, overload); trying again may help.

    Whether a write took effect is not known. Every write here may be repeated.
    """


@dataclass(frozen=True, slots=True)
class Stat:
    """An object's size in bytes, opaque version, and time of writing (Unix seconds).

    The time is information for people and for grace periods; it never orders two writes.
    """

    size: int
    version: str
    modified: float


@dataclass(frozen=True, slots=True)
class Value:
    """An object's bytes and the opaque version that they had. Equal versions, equal bytes."""

    data: bytes
    version: str


Items = Sequence[tuple[str, bytes]]
"""Keys and what to write at them."""


class ObjectStore(Protocol):
    """Small whole values: records, manifests, links. Every method may raise ``Unavailable``.

    Reads see every write that was acknowledged before they began (strong consistency), whoever
    made it. An object is replaced atomically: no reader ever sees half of one, nor does a crash
    leave one. When a write returns, it survives the crash of the process and of the machine,
    unless it was made with ``durable=False``: then it survives the crash of the process only.

    A write whose task is cancelled ends before ``CancelledError`` comes out of it, with or without
    effect: nothing happens later, so that a lease or a ``change`` around it still covers it.
    """

    async def get(self, key: str) -> Value:
        """Return the object at ``key``. ``NotFound`` if there is none."""
        ...

    async def stat(self, key: str) -> Stat:
        """Return size and version of the object at ``key``. ``NotFound`` if there is none."""
        ...

    async def put(self, key: str, data: bytes, *, durable: bool = True) -> str:
        """Write ``data`` at ``key`` whatever was there, and return the new version.

        Of concurrent puts, one that was running last stands, whole.
        """
        ...

    async def put_all(self, *steps: Items, settled: bool = True) -> None:
        """Put the items of each step, step by step, durably.

        A step begins when the one before it is done, and after a crash something of it is there
        only if all of the one before is. The items of one step are put at once or in any order; no
        key is in a step twice. Not atomic as a whole: others see items one by one. On an error
        some may have been written, and none is still being written when it is raised.

        With ``settled=False`` a crash of the machine may take the last of them away, in this
        order and that of the calls, unless a durable write of this process follows: enough where
        one will.
        """
        ...

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
        """Write ``data`` at ``key`` if nothing is there, in one atomic step; return its version.

        ``AlreadyExists`` if an object is there: of concurrent creates exactly one returns.
        ``beside`` is put at once with it or in any order, whether something is there or not;
        ``then`` is put as a step after both, if it was created, and else not at all. ``durable``
        speaks of ``key`` alone, ``settled`` of all of it, as for ``put_all``.
        """
        ...

    async def replace(self, key: str, data: bytes, version: str, *, durable: bool = True) -> str:
        """Write ``data`` at ``key`` if its object is at ``version``, in one atomic step.

        Return the new version. ``PreconditionFailed`` if it is at another, or gone: of concurrent
        replaces of one version with different data exactly one returns.
        """
        ...

    async def delete(self, key: str, *, version: str | None = None, durable: bool = True) -> bool:
        """Remove the object at ``key``. A missing one is no error: deletion may be repeated.

        With ``durable=False`` a crash of the machine may bring it back.

        With ``version``: only if it is at that version, else ``PreconditionFailed`` (a missing
        object is no error here either). Return whether it was this call that removed it: of several
        at most one is told so; ``False`` also where that is not known, since an answer was lost.
        Without ``version`` the result means nothing.
        """
        ...

    async def list(self, prefix: str, *, after: str = "", limit: int = 1000) -> Sequence[str]:
        """Return at most ``limit`` keys that start with ``prefix`` and sort after ``after``.

        ``prefix`` ends with ``/``. Keys come whole, at any depth, in byte order; ``after`` is a
        whole key, or anything that compares like one, and need not exist. An object that was
        there for the whole call is listed; one that came or went meanwhile may be either.
        """
        ...


class ContentWriter(Protocol):
    """Appends to one content object. One task at a time."""

    @property
    def offset(self) -> int:
        """Bytes taken so far, those of earlier writers included."""
        ...

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        """Take ``data``, any size; wait while too much is in flight.

        The caller may change a ``bytearray`` again once the call returned. What a ``memoryview``
        shows is never changed: a writer may keep it.
        """
        ...

    async def checkpoint(self) -> str:
        """Make all bytes taken so far durable; return the progress to resume from, anywhere."""
        ...

    async def finish(self, *, settled: bool = True) -> int:
        """Make the content durable and readable at its key; return its size in bytes.

        Nothing can be written after it. Repeating it, from the last progress and in another
        process too, gives the same answer. With ``settled=False`` the bytes are durable when it
        returns, but a crash of the machine may take the object away unless a durable write of
        this process follows: enough for content that nothing names yet.
        """
        ...


class ContentReader(Protocol):
    """Reads one content object, or a range of it."""

    @property
    def size(self) -> int:
        """The size of the whole object in bytes."""
        ...

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the bytes of the range in order, in pieces of at most 1 MiB."""
        ...


@runtime_checkable
class RelayedReader(ContentReader, Protocol):
    """A reader whose bytes may go to a socket without passing through this process."""

    async def relay(self, sink: int, idle_seconds: float) -> int:
        """Send what is left of the range to a socket, as far as that can be; return the bytes sent.

        What was not sent is yielded as ever. ``sink`` is a descriptor that does not block, and
        that nothing else on this loop watches. ``ConnectionResetError`` where it fails, or takes
        nothing for ``idle_seconds``. Asked for before any byte was yielded.
        """
        ...


class ContentStore(ObjectStore, Protocol):
    """Large immutable content, written by appending, straight to its final place.

    Finished content is an object as any other: ``get`` (for small ones), ``stat``, ``list`` and
    ``delete`` apply to it. Unfinished content is invisible to them.
    """

    @property
    def value_bytes(self) -> int:
        """Up to how many bytes unfinished content is better put whole, as a value, than appended.

        512 KiB at the most: who keeps it holds that much in memory for each writer.
        """
        ...

    @property
    def checkpoint_bytes(self) -> int:
        """After how many bytes of one writer a checkpoint is worth what it costs.

        It waits for all that is in flight; and it bounds what a crash makes a client send again.
        """
        ...

    def append(self, key: str, progress: str) -> AbstractAsyncContextManager[ContentWriter]:
        """Write on at ``key`` from ``progress``, ``""`` for the beginning.

        Bytes that an earlier writer wrote beyond ``progress`` are dropped. Leaving the context
        without ``checkpoint`` or ``finish`` loses what was written since the last one, no more.
        The caller sees to it that there is one writer at a time (a lease). Where a lease can be
        lost unnoticed (by time, on several machines), a driver keeps what two writers that went on
        from one progress made durable apart: each finishes its own bytes, or fails.

        ``NotFound`` where what ``progress`` tells of is gone. Content that is finished stays as it
        is: a writer that meets it may write the same bytes again (its predecessor's answer was
        lost), and gets ``AlreadyExists`` for any other.
        """
        ...

    async def abandon(self, key: str, progress: str) -> None:
        """Give up unfinished content and free its space. Repeatable; finished content stays."""
        ...

    async def sweep(self, older: float) -> int:
        """Free unfinished content that nobody has gone on with for ``older`` seconds.

        Also what a process that was killed has left, of which no progress tells. Return how many
        there were. Costs what is unfinished, not what is stored. May be repeated, broken off, and
        run in several processes at once. The caller sees to it that nobody goes on with what is
        that old.
        """
        ...

    def open(
        self, key: str, start: int = 0, end: int | None = None
    ) -> AbstractAsyncContextManager[ContentReader]:
        """Read the finished content at ``key`` from ``start`` up to, not including, ``end``.

        ``NotFound`` if there is none. Content that is deleted meanwhile may still be read to the
        end, or raise ``Unavailable``; it is never cut short silently: content that has no bytes
        up to ``end`` raises it too.
        """
        ...


@dataclass(frozen=True, slots=True)
class OpenFile:
    """A file descriptor open for reading, and the file's size in bytes."""

    fd: int
    size: int


class FileContent(Protocol):
    """Content that is a local file, so that it can be sent from where the kernel has it."""

    def open_file(self, key: str) -> AbstractAsyncContextManager[OpenFile]:
        """Open the finished content at ``key``; ``NotFound`` if there is none.

        The descriptor belongs to the context and is closed with it.
        """
        ...


class PresignedStore(Protocol):
    """Content that the store itself serves to whoever has a URL for it."""

    async def presign(self, key: str, *, seconds: int, headers: Mapping[str, str]) -> str:
        """Return a URL that anyone may GET, whole or by ranges, for the next ``seconds``.

        The answer will have ``headers`` (names as in HTTP; those that S3 lets a URL set:
        Content-Type, Content-Disposition, Cache-Control and the like). Whether there is anything
        at ``key`` is not looked at. Nobody else is asked; the URL can't be taken back.
        """
        ...
