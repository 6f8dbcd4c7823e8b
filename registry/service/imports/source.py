"""What can be imported from: repositories with their tags, manifests and blobs."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from registry.service.stored import StoredManifest
from registry.spec.digest import Digest
from registry.spec.names import RepositoryName, Tag


class SourceUnavailable(Exception):
    """The source does not answer, or refuses; trying again may help."""


class SourceUnknown(Exception):
    """The source has no such manifest or blob."""


class Source(Protocol):
    """Where content comes from. Every method may raise ``SourceUnavailable``."""

    @property
    def name(self) -> str:
        """What tells this source from others: its address, without anything secret."""
        ...

    @property
    def selection(self) -> Sequence[str]:
        """The repositories that were asked for; none for all that it has."""
        ...

    def repositories(self, after: str) -> AsyncIterator[str]:
        """Yield the names of repositories behind ``after``, in an order that does not change."""
        ...

    async def tags(self, repository: RepositoryName) -> Sequence[str]:
        """Return all tags of a repository, as the source writes them."""
        ...

    async def resolve(self, repository: RepositoryName, tag: Tag) -> Digest:
        """Return the digest that a tag leads to. ``SourceUnknown``."""
        ...

    def untagged(self, repository: RepositoryName) -> AsyncIterator[Digest]:
        """Yield digests of manifests, as far as the source tells of them without a tag."""
        ...

    async def manifest(self, repository: RepositoryName, digest: Digest) -> StoredManifest:
        """Return a manifest; who asks compares it with the digest. ``SourceUnknown``.

        Its media type is empty where the source does not tell it beside the bytes.
        """
        ...

    async def referrers(self, repository: RepositoryName, subject: Digest) -> Sequence[Digest]:
        """Return what refers to a manifest, as far as the source lists that."""
        ...

    async def held(self, repository: RepositoryName, digest: Digest, *, came: bool) -> bool:
        """Tell whether the repository is known to have a blob, which need not be read then.

        ``came``: its bytes came from this source already, for another repository. ``False`` where
        only the bytes are a proof. ``SourceUnknown`` where it has none.
        """
        ...

    def blob(
        self, repository: RepositoryName, digest: Digest
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Open a blob; who reads it compares it. ``SourceUnknown`` when it is opened.

        ``held`` was asked just before.
        """
        ...

    async def place(self, repository: RepositoryName, digest: Digest, key: str, size: int) -> bool:
        """Make a blob content at ``key`` of the store with no byte passing through here.

        ``size`` is what a manifest says that it has, in bytes, which may be wrong.
        ``False`` where that can't be done: its bytes have to be read. May be repeated. ``held`` was
        asked just before.
        """
        ...
