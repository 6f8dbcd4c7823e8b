"""A manifest as the store has it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self, TypeVar

from registry.service.hashing import beside, digest_of
from registry.service.records import Corrupt
from registry.spec import manifest as grammar
from registry.spec.digest import Digest
from registry.spec.errors import DigestMismatch, ManifestUnknown, RegistryError
from registry.spec.manifest import Manifest
from registry.spec.names import Place
from storage import keys
from storage.ports import NotFound, ObjectStore

T = TypeVar("T")


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

    async def parsed(self) -> Manifest:
        """What it says; ``ManifestInvalid``. A large one is read in a thread."""
        return await self.beside(lambda: grammar.parse(self.data, self.media_type))

    async def verified(self) -> Manifest:
        """As ``parsed``, of bytes that come from elsewhere: ``DigestMismatch`` for others."""
        found = await digest_of(self.data, self.digest.algorithm)
        if found != self.digest:
            raise DigestMismatch(self.digest, found)
        return await self.parsed()

    async def beside(self, work: Callable[[], T]) -> T:
        """Do work that takes as long as the manifest is large: for a large one in a thread.

        Others get their turn between two calls of the decoder, not within one, which keeps the
        interpreter's lock: about 0.2 s for 380,000 annotations.
        """
        return await beside(len(self.data), work)

    async def blobs(self) -> set[Digest]:
        """The blobs that it needs. ``Corrupt`` where it can't be read: they must not be guessed."""
        try:
            manifest = await self.parsed()
        except RegistryError as error:
            raise Corrupt(f"manifest {self.digest}: {error}") from error
        return {each.digest for each in manifest.blobs}


async def load(store: ObjectStore, repository: Place, digest: Digest) -> StoredManifest:
    """Return a manifest of the repository as the store has it now. ``ManifestUnknown``."""
    try:
        value = await store.get(keys.manifest(repository, digest))
    except NotFound:
        raise ManifestUnknown(digest) from None
    return StoredManifest.unpack(digest, value.data)


def manifest_name(repository: Place, digest: str) -> str:
    """What the coordinator calls a manifest."""
    return "manifest/" + repository + "/" + digest
