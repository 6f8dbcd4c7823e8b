"""Blobs: immutable content, and which repositories hold it."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial

from registry.service.bounded import both
from registry.service.collection.candidates import Candidates
from registry.service.entries import Entries
from registry.service.memberships import Memberships, member_name
from registry.service.mounts import Mounts, mounts_name
from registry.service.pointers import Pointers
from registry.service.presence import exists
from registry.service.publishing import TRIES, Publishing, too_slow
from registry.service.quotas.charges import NO_CHARGE, Charge
from registry.service.quotas.quotas import Quotas
from registry.service.records import Pointer
from registry.service.remembered import Kept, Remembered, stamps_of
from registry.service.settling import Settling
from registry.service.terms import Terms
from registry.spec.digest import Digest
from registry.spec.errors import BlobUnknown
from registry.spec.names import Place
from storage import keys
from storage.coordination import Coordinator
from storage.ports import (
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
        entries: Entries,
        candidates: Candidates,
        terms: Terms,
        quotas: Quotas,
        mounts: Mounts,
    ) -> None:
        """Remember members and small contents in up to ``memory`` bytes.

        ``files`` is the same store, where its content is local files. ``candidates`` are told of
        what may be left without a manifest.
        """
        self._store = store
        self._files = files
        self._coordinator = coordinator
        self._terms = terms
        self._quotas = quotas
        self._candidates = candidates
        self._members = Memberships(store, entries, terms)
        self._mounts = mounts
        self._settling = Settling(store, coordinator, entries, candidates, terms)
        self._pointers = Pointers(store, terms)
        self._publishing = Publishing(
            store, entries, candidates, self._members, self._pointers, terms
        )
        self.members: Remembered[Blob] = Remembered(coordinator, memory // 4, lambda _: 400)
        self.contents: Kept[bytes] = Kept(memory * 3 // 4, len)

    async def find(self, repository: Place, digest: Digest) -> Blob:
        """Return the blob, if the repository holds it; else ``BlobUnknown`` (end-2).

        It stays for the grace at least: a client that is told of it may skip its upload.
        """
        name, record = member_name(repository, digest), mounts_name(repository)
        of_record: int | None

        async def load() -> Blob:
            try:
                # One after the other: what others hold must not show in the time that it takes.
                if not await self._held(repository, digest, of_record):
                    raise BlobUnknown(digest)
                pointer = await self._pointer(digest)
            except NotFound:
                raise BlobUnknown(digest) from None
            return Blob(digest, pointer.size, pointer.data)

        for _ in range(TRIES):
            began = self._terms.pace()
            # Both at once: through Redis that is one round trip instead of two.
            stamp, of_record = await stamps_of(self._coordinator, name, record)
            blob = await self.members.use(name, stamp, load)
            if self._in_time(began):
                return blob
        raise too_slow(digest)

    async def _held(self, repository: Place, digest: Digest, stamp: int | None) -> bool:
        """Whether the blob is a member, or was mounted at once with others and is to be one.

        ``stamp`` is that of the record of these, and was taken just now.
        """
        known = self._mounts.find(repository, stamp)
        if known is not None:
            return await self._members.look(repository, digest) or digest in known
        load = self._mounts.load(repository, stamp)
        mounted, held = await both(load, self._members.look(repository, digest))
        if held or digest in mounted:
            return True
        (now,) = await stamps_of(self._coordinator, mounts_name(repository))
        if now is not None and now == stamp:
            return False
        # What has left the record since may have been made a member after that look.
        return await self._members.look(repository, digest)

    def _in_time(self, began: float) -> bool:
        return self._terms.pace() - began <= self._terms.patience

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
                else:
                    content = (await self._pointers.find(blob.digest))[1]
                self.contents.keep(blob.digest, content)
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

    async def whole(self, blob: Blob) -> bytes:
        """All bytes at once, of a blob whose size was looked at; ``BlobUnknown`` if gone."""
        async with self.open(blob, 0, blob.size) as reader:
            return b"".join([piece async for piece in reader])

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

    async def publish(
        self,
        repository: Place,
        digest: Digest,
        data: str,
        size: int,
        charge: Charge = NO_CHARGE,
    ) -> Blob:
        """Name verified, durable bytes by their digest, and make the repository hold them.

        May be repeated. Where the digest has bytes already those stay, whoever was first, and
        the new ones are deleted behind the answer. ``ContentGone`` where nothing has named the
        bytes for so long that they were collected. ``charge`` pays for them: ``QuotaExceeded``
        where it can't.
        """
        blob = await self._publish(repository, digest, Pointer(size, data), b"", charge)
        if blob.data != data:
            self._candidates.spare(data)
        return blob

    async def publish_small(
        self, repository: Place, digest: Digest, content: bytes, charge: Charge = NO_CHARGE
    ) -> Blob:
        """As ``publish``, of verified bytes that are stored with their name: at most ``SMALL``."""
        blob = await self._publish(repository, digest, Pointer(len(content)), content, charge)
        self.contents.keep(digest, content)
        return blob

    async def _publish(
        self, repository: Place, digest: Digest, pointer: Pointer, content: bytes, charge: Charge
    ) -> Blob:
        async def publish() -> Blob:
            standing = await self._publishing.publish(repository, digest, pointer, content, charge)
            return Blob(digest, pointer.size, standing.data)

        # Remembered, as what is mounted: the manifest that comes next needs it.
        return await self.members.made(member_name(repository, digest), publish)

    async def _pointer(self, digest: Digest) -> Pointer:
        pointer, content = await self._pointers.find(digest)
        if not pointer.data:
            self.contents.keep(digest, content)
        return pointer

    async def mount(self, repository: Place, digest: Digest, source: Place) -> Blob | None:
        """Make the repository hold a blob that ``source`` holds, with no byte copied (end-11).

        ``None`` where ``source`` holds none: the client uploads it. Whether the caller may read
        ``source`` was decided before. ``QuotaExceeded`` where it does not fit.
        """
        async with self._quotas.charging(repository.tenant) as charge:
            return await self._mount(repository, digest, source, charge)

    async def _mount(
        self, repository: Place, digest: Digest, source: Place, charge: Charge
    ) -> Blob | None:
        for _ in range(TRIES):
            began = self._terms.pace()
            try:
                blob = await self.find(source, digest)
            except BlobUnknown:
                return None
            # Remembered, since the manifest that comes next needs it. What is known to be a member
            # is not written again.
            enter = partial(self._enter, repository, blob, charge)
            await self.members.get(member_name(repository, digest), enter)
            if self._in_time(began):
                self._candidates.note(repository, digest)
                return blob
        raise too_slow(digest)

    async def _enter(self, repository: Place, blob: Blob, charge: Charge) -> Blob:
        await self._members.enter(repository, blob.digest, blob.size, charge)
        return blob

    async def adopt(self, repository: Place, digest: Digest) -> Blob | None:
        """Make the repository hold a blob that the store has, whoever holds it; ``None`` for none.

        For who restores or imports on behalf of the registry: no client may be told of it.
        """
        for _ in range(TRIES):
            began = self._terms.pace()
            try:
                pointer = await self._pointer(digest)
            except NotFound:
                return None
            await self._members.enter(repository, digest, pointer.size)
            if self._in_time(began):
                self._candidates.note(repository, digest)
                return Blob(digest, pointer.size, pointer.data)
        raise too_slow(digest)

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

        Other repositories keep it, and its bytes stay for them. The collector takes away what is
        left.
        """
        await self._settling.settle(repository)
        member = await self._members.read(repository, digest)
        if member is None or not member.life.visible:
            raise BlobUnknown(digest)
        began, wait = self._terms.pace(), self._terms.patience
        await self._candidates.add(repository, members=[digest], wait=wait)
        async with self._coordinator.change(member_name(repository, digest)):
            if not await self._members.hide(repository, digest):
                raise BlobUnknown(digest)
        if not self._in_time(began):
            # The collector may have looked before it was hidden.
            await self._candidates.add(repository, members=[digest], wait=wait)

    async def purge(self, repository: Place, digest: Digest) -> None:
        """Take a blob out of a repository whose project is no more, and leave nothing there.

        No client was told of it since. The reverse membership goes first, so that a purge that
        breaks off finds the rest again.
        """
        await self._store.delete(keys.reference(digest, repository))
        async with self._coordinator.change(member_name(repository, digest)):
            await self._store.delete(keys.blob(repository, digest))


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


@contextmanager
def _unknown_if_gone(blob: Blob) -> Iterator[None]:
    try:
        yield
    except NotFound:
        raise BlobUnknown(blob.digest) from None
