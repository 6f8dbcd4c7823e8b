"""A manifest as the store has it."""

from dataclasses import dataclass
from typing import Self

from registry.spec.digest import Digest


@dataclass(frozen=True, slots=True)
class StoredManifest:
    """A manifest as it was pushed: its media type and exact bytes."""

    digest: Digest
    media_type: str
    data: bytes

    def pack(self) -> bytes:
        """The bytes to store."""
        return b"%b\n%b" % (self.media_type.encode(), self.data)

    @classmethod
    def unpack(cls, digest: Digest, stored: bytes) -> Self:
        """The inverse of ``pack``."""
        media_type, _, data = stored.partition(b"\n")
        return cls(digest, media_type.decode(), data)
