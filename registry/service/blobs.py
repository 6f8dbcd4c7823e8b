"""Blobs: immutable content, and which repositories hold it."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

from registry.service.presence import exists
from registry.service.records import Pointer
from registry.service.remembered import Kept, Remembered
from registry.spec.digest import Digest
from registry.spec.errors import BlobUnknown
from registry.spec.names import Place
from storage import keys
from storage.coordination import Coordinator
from storage.ports import (
    AlreadyExists,
    ContentReader,
    ContentStore,
    FileContent,
    NotFound,
    OpenFile,
)

SMALL = 64 * 1024
"""Blobs up to this size, in bytes, are stored with their pointer where they come in one piece, and
are answered from memory where it has them."""

_MOUNT_CANDIDATES = 100


@dataclass(frozen=True, slots=True)
class Blob:
    """A blob that a repository holds.

    ``data`` is the storage key of its bytes; empty for a small one that is in its pointer.
    """

    digest: Digest
    size: int
    data: str

    @property
    def is_small(self) -> bool:
        """Whether ``Blobs.read`` gives it whole."""
        return not self.data or self.size <= SMALL


class Blobs:
    """Reads, mounts, publishes and deletes blobs. A repository sees only its own."""

    def __init__(
        self,
        store: ContentStore,
        files: FileContent | None,
        coordinator: Coordinator,
        memory: int,
    ) -> None:
        """Remember members and small contents in up to ``memory`` bytes.

        ``files`` is the same store, where its content is local files.
        """
        self._store = store
        self._files = files
        self._coordinator = coordinator
        self.members: Remembered[Blob] = Remembered(coordinator, memory // 4, lambda _: 400)
        self.contents: Kept[bytes] = Kept(memory * 3 // 4, len)

    async def find(self, repository: Place, digest: Digest) -> Blob:
        """Return the blob, if the repository holds it; else ``BlobUnknown`` (end-2)."""

        async def load() -> Blob:
            try:
                # One after the other: what others hold must not show in the time that it takes.
                await self._store.get(keys.blob(repository, digest))
                pointer = await self._pointer(digest)
            except NotFound:
                raise BlobUnknown(digest) from None
            return Blob(digest, pointer.size, pointer.data)

        return await self.members.get(_membership(repository, digest), load)

    async def holds(self, repository: Place, digest: Digest) -> bool:
        """Whether the repository holds the blob."""
        try:
            await self.find(repository, digest)
        except BlobUnknown:
            return False
        return True

    async def read(self, blob: Blob) -> bytes:
        """Return the whole of a blob that ``is_small``; ``BlobUnknown`` if it is gone."""
        content = self.contents.find(blob.digest)
        if content is None:
            with _unknown_if_gone(blob):
                if blob.data:
                    content = (await self._store.get(blob.data)).data
                    self.contents.keep(blob.digest, content)
                else:
                    pointer = await self._store.get(keys.pointer(blob.digest))
                    content = self._unpack(blob.digest, pointer.data)[1]
        return content

    @asynccontextmanager
    async def open(self, blob: Blob, start: int, end: int) -> AsyncIterator[ContentReader]:
        """Read the bytes from ``start`` up to ``end``; ``BlobUnknown`` if they are gone."""
        if not blob.data:
            yield _Bytes(await self.read(blob), start, end)
            return
        with _unknown_if_gone(blob):
            async with self._store.open(blob.data, start, end) as reader:
                yield reader

    @property
    def are_files(self) -> bool:
        """Whether ``file`` can be asked for."""
        return self._files is not None

    @asynccontextmanager
    async def file(self, blob: Blob) -> AsyncIterator[OpenFile]:
        """Open the bytes as a local file, for the kernel to send; ``BlobUnknown`` if gone."""
        if self._files is None:
            raise TypeError("this store keeps no local files")
        with _unknown_if_gone(blob):
            async with self._files.open_file(blob.data) as file:
                yield file

    async def publish(self, repository: Place, digest: Digest, data: str, size: int) -> Blob:
        """Name verified, durable bytes by their digest, and make the repository hold them.

        May be repeated. Where the digest has bytes already those stay, whoever was first, and
        the new ones are dropped.
        """
        standing = await self._publish(repository, digest, Pointer(size, data))
        if standing.data != data:
            await self._store.delete(data)
        return Blob(digest, size, standing.data)

    async def publish_small(self, repository: Place, digest: Digest, content: bytes) -> Blob:
        """As ``publish``, of verified bytes that are stored with their name: at most ``SMALL``."""
        standing = await self._publish(repository, digest, Pointer(len(content)), content)
        self.contents.keep(digest, content)
        return Blob(digest, len(content), standing.data)

    async def _publish(
        self, repository: Place, digest: Digest, pointer: Pointer, content: bytes = b""
    ) -> Pointer:
        """Make the repository hold the blob; return the pointer that stands.

        Reverse membership and pointer first, membership after both: a crash in between leaves
        garbage, never a dangling name, nor a member that the pointer's collection can't see.
        """
        key, packed = keys.pointer(digest), pointer.pack(content)
        reference = [(keys.reference(digest, repository), b"")]
        membership = [(keys.blob(repository, digest), b"")]
        while True:
            try:
                await self._store.create(key, packed, beside=reference, then=membership)
            except AlreadyExists:
                try:
                    standing = await self._pointer(digest)
                except NotFound:
                    continue
                await self._store.put_all(membership)
                return standing
            return pointer

    async def _pointer(self, digest: Digest) -> Pointer:
        value = await self._store.get(keys.pointer(digest))
        return self._unpack(digest, value.data)[0]

    def _unpack(self, digest: Digest, stored: bytes) -> tuple[Pointer, bytes]:
        pointer, content = Pointer.unpack(stored)
        if not pointer.data:
            self.contents.keep(digest, content)
        return pointer, content

    async def mount(self, repository: Place, digest: Digest, source: Place) -> Blob | None:
        """Make the repository hold a blob that ``source`` holds, with no byte copied (end-11).

        ``None`` where ``source`` holds none: the client uploads it. Whether the caller may read
        ``source`` was decided before.
        """
        try:
            blob = await self.find(source, digest)
        except BlobUnknown:
            return None
        await self._store.put_all(
            [(keys.reference(digest, repository), b"")], [(keys.blob(repository, digest), b"")]
        )
        return blob

    async def mount_any(
        self,
        repository: Place,
        digest: Digest,
        readable: Callable[[Place], Awaitable[bool]],
    ) -> Blob | None:
        """Mount from any repository of the same project that is ``readable`` by the caller.

        What other projects hold is not even looked at, so it makes no difference to the answer
        nor to the time that it takes; a client that knows of a repository elsewhere names it.
        """
        for candidate in await self._holders(repository.tenant, digest):
            if await readable(candidate):
                blob = await self.mount(repository, digest, candidate)
                if blob is not None:
                    return blob
        return None

    async def _holders(self, tenant: str, digest: Digest) -> list[Place]:
        root = Place(tenant)
        found = [root] if await exists(self._store, keys.reference(digest, root)) else []
        prefix = keys.references(digest, tenant)
        listed = await self._store.list(prefix, limit=_MOUNT_CANDIDATES)
        return found + [keys.reference_place(key) for key in listed]

    async def delete(self, repository: Place, digest: Digest) -> None:
        """Take the blob out of this repository (end-10). ``BlobUnknown`` if it holds none.

        Other repositories keep it, and its bytes stay for them.
        """
        async with self._coordinator.change(_membership(repository, digest)):
            try:
                await self._store.stat(keys.blob(repository, digest))
            except NotFound:
                raise BlobUnknown(digest) from None
            await self._store.delete(keys.blob(repository, digest))
            await self._store.delete(keys.reference(digest, repository))


class _Bytes:
    """A ``ContentReader`` over content that is in memory."""

    def __init__(self, content: bytes, start: int, end: int) -> None:
        self._content = content
        self._start = start
        self._end = end

    @property
    def size(self) -> int:
        return len(self._content)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if self._start < self._end:
            yield self._content[self._start : self._end]


def _membership(repository: Place, digest: Digest) -> str:
    return f"blob/{repository}/{digest}"


@contextmanager
def _unknown_if_gone(blob: Blob) -> Iterator[None]:
    try:
        yield
    except NotFound:
        raise BlobUnknown(blob.digest) from None
