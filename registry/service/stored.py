"""A manifest as the store has it."""

from dataclasses import dataclass
from typing import Self

from registry.service.records import Corrupt
from registry.spec import manifest as grammar
from registry.spec.digest import Digest
from registry.spec.errors import RegistryError


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

    def blobs(self) -> set[Digest]:
        """The blobs that it needs. ``Corrupt`` where it can't be read: they must not be guessed."""
        try:
            manifest = grammar.parse(self.data, self.media_type)
        except RegistryError as error:
            raise Corrupt(f"manifest {self.digest}: {error}") from error
        return {each.digest for each in manifest.blobs}
