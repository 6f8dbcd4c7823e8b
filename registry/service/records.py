"""The records that the services keep in the store, as JSON.

A field that is added needs a default, so that records written before it can still be read; a
record with a field that this version does not know is refused (``Corrupt``), never half-read.
"""

from typing import Self

import msgspec

from registry.spec.digest import Digest
from registry.spec.life import Life
from registry.spec.upload import State


class Corrupt(Exception):
    """A stored record can't be read: written by a newer version, or damaged."""


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """JSON to and from the store."""

    def encode(self) -> bytes:
        """The bytes to store."""
        return msgspec.json.encode(self, enc_hook=str)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """The inverse of ``encode``. ``Corrupt`` where it can't be."""
        try:
            return msgspec.json.decode(data, type=cls)
        except msgspec.MsgspecError as error:
            raise Corrupt(f"{cls.__name__}: {error}") from error


class Pointer(Record, frozen=True):
    """Where a blob's bytes are, and their number.

    Those of a small one are in the pointer's own object, behind a line feed, and ``data`` is
    empty; those of any other are at the key ``data``. JSON holds no line feed of its own. ``state``
    since ``since`` (Unix seconds); ``nonce`` tells two that were condemned apart.
    """

    size: int
    data: str = ""
    state: Life = Life.LIVE
    since: float = 0.0
    nonce: str = ""

    def pack(self, content: bytes = b"") -> bytes:
        """The bytes to store, with the blob's ``content`` where it is small."""
        return self.encode() if self.data else b"%b\n%b" % (self.encode(), content)

    @classmethod
    def unpack(cls, stored: bytes) -> tuple[Self, bytes]:
        """The inverse of ``pack``. ``Corrupt`` where it can't be."""
        head, _, content = stored.partition(b"\n")
        pointer = cls.decode(head)
        if len(content) != (0 if pointer.data else pointer.size):
            raise Corrupt(f"Pointer: {len(content)} bytes of content follow, not {pointer.size}")
        return pointer, content


class Holding(Record, frozen=True):
    """A membership that is not live: its state, since when (Unix seconds), and a random text."""

    state: Life
    since: float
    nonce: str


class MountRecord(Record, frozen=True):
    """Blobs that were mounted at once for these manifests, and are to be made members.

    ``nonce`` tells any two that were written apart.
    """

    blobs: tuple[str, ...]
    manifests: tuple[str, ...]
    nonce: str


class TagState(msgspec.Struct, frozen=True, array_like=True):
    """Where a tag pointed, by whom and since when (Unix seconds); no digest: it was deleted."""

    digest: str
    version: int
    by: str
    at: float


class TagRecord(Record, frozen=True):
    """Where a tag points. ``version`` counts the tag's changes and orders them; clocks don't.

    ``history`` is where it pointed before, the newest first.
    """

    digest: str
    media_type: str
    size: int
    version: int
    by: str
    at: float
    history: tuple[TagState, ...] = ()

    @property
    def target(self) -> Digest:
        """The digest of the manifest that the tag points at."""
        return Digest(self.digest)


class UploadRecord(Record, frozen=True):
    """An upload session that holds bytes, as of the last durable step, or one that was aborted.

    ``progress`` is the store's, opaque here; ``hashed`` the exported state of the running hash
    after ``offset`` bytes, or ``None`` where it can't be exported (the bytes are then read again).
    ``tenant`` is the id of the project that it belongs to; ``charged`` are bytes of it that count
    in the project's account. ``owner`` is random, and tells who marked it as FINISHING last.

    While there are few bytes they are here, all of them: ``content``, behind a line feed as in a
    pointer. Then there is neither progress nor a hash's state. ``data`` is the key of its bytes,
    where that is not the session's own.
    """

    offset: int = 0
    progress: str = ""
    hashed: str | None = None
    state: State = State.OPEN
    tenant: str = ""
    charged: int = 0
    owner: str = ""
    data: str = ""
    content: bytes = b""

    @property
    def written(self) -> bool:
        """Whether bytes of the session are in the store's content, and not in this record."""
        return self.offset > len(self.content)

    def encode(self) -> bytes:
        """The bytes to store."""
        if not self.content:
            return super().encode()
        head = msgspec.structs.replace(self, content=b"")
        return b"%b\n%b" % (head.encode(), self.content)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """The inverse of ``encode``. ``Corrupt`` where it can't be."""
        line, _, content = data.partition(b"\n")
        head = super().decode(line)
        if head.content or (content and len(content) != head.offset):
            raise Corrupt(f"UploadRecord: {len(content)} bytes follow, not {head.offset}")
        return msgspec.structs.replace(head, content=content) if content else head


class DeletedRecord(Record, frozen=True):
    """A manifest that was deleted: when (Unix seconds), by whom, and the tags that led to it.

    The manifest as it was stored follows behind a line feed. Until ``until`` it can be had back.
    """

    at: float
    until: float
    by: str
    tags: tuple[str, ...] = ()

    def pack(self, stored: bytes) -> bytes:
        """The bytes to store."""
        return b"%b\n%b" % (self.encode(), stored)

    @classmethod
    def unpack(cls, data: bytes) -> tuple[Self, bytes]:
        """The inverse of ``pack``. ``Corrupt`` where it can't be."""
        head, _, stored = data.partition(b"\n")
        return cls.decode(head), stored
