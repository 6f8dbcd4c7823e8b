"""A source that is what Distribution keeps: its storage tree, in a directory or a bucket.

::

    docker/registry/v2/blobs/<alg>/<aa>/<hex>/data
    docker/registry/v2/repositories/<name>/_manifests/tags/<tag>/current/link
    docker/registry/v2/repositories/<name>/_manifests/revisions/<alg>/<hex>/link
    docker/registry/v2/repositories/<name>/_layers/<alg>/<hex>/link

A ``link`` holds a digest. Source: the comment on ``paths.go`` of distribution/distribution,
versions 2 and 3. What is pushed there while it is read may be missed, and is taken over by the next
import; its garbage collector must not run.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Final, Protocol

from registry.service.imports.source import SourceUnknown
from registry.service.stored import StoredManifest
from registry.spec.digest import Digest
from registry.spec.errors import RegistryError
from registry.spec.manifest import MAX_SIZE
from registry.spec.names import RepositoryName, Tag
from storage.ports import ContentReader, NotFound, Unavailable, Value

ROOT: Final = "docker/registry/v2"
_REPOSITORIES: Final = f"{ROOT}/repositories/"
_LONGEST_LINK: Final = 1024

Placing = Callable[[str, str, int], Awaitable[bool]]
"""Makes what is at a key of the tree, of about so many bytes, content at a key of the store;
``False`` if it can't, or if that is not worth it."""


async def _never(_source: str, _key: str, _size: int) -> bool:
    return False


class Tree(Protocol):
    """What is read of a store: a tree may be in one that nothing is written to."""

    async def get(self, key: str) -> Value:
        """As ``ObjectStore.get``."""
        ...

    def directories(self, prefix: str) -> AsyncIterator[str]:
        """Yield what stands before the next ``/`` in keys that start with ``prefix``, once each.

        The order does not change.
        """
        ...

    def open(
        self, key: str, start: int = 0, end: int | None = None
    ) -> AbstractAsyncContextManager[ContentReader]:
        """As ``ContentStore.open``."""
        ...


class TreeSource:
    """Reads a tree through a store whose keys are its paths."""

    def __init__(
        self, store: Tree, name: str, placing: Placing = _never, *, files: bool = False
    ) -> None:
        """Read ``store``. ``files``: what can't be read of it now is one file, not all of it."""
        self._store = store
        self._unreadable = (NotFound, Unavailable) if files else (NotFound,)
        self._placing = placing
        self.name = name
        self.selection = ()

    async def repositories(self, after: str) -> AsyncIterator[str]:
        """As ``Source.repositories``: those that have, or had, manifests.

        They are ordered by the parts of their names, so that one comes before what is below it.
        """
        async for name in self._below("", after.split("/")):
            yield name

    async def _below(self, within: str, after: list[str]) -> AsyncIterator[str]:
        """Yield the repositories in a directory, ``within`` being empty or ending in ``/``.

        ``after`` are the parts of the name that they come after.
        """
        found = [name async for name in self._store.directories(_REPOSITORIES + within)]
        depth = within.count("/")
        if "_manifests" in found and within.split("/")[:-1] > after:
            yield within[:-1]
        for name in sorted(found):
            child = f"{within}{name}/"
            if not name.startswith("_") and child.split("/")[:-1] >= after[: depth + 1]:
                async for repository in self._below(child, after):
                    yield repository

    async def tags(self, repository: RepositoryName) -> Sequence[str]:
        """As ``Source.tags``."""
        prefix = f"{_REPOSITORIES}{repository}/_manifests/tags/"
        return [tag async for tag in self._store.directories(prefix)]

    async def resolve(self, repository: RepositoryName, tag: Tag) -> Digest:
        """As ``Source.resolve``."""
        return await self._link(f"{_REPOSITORIES}{repository}/_manifests/tags/{tag}/current/link")

    async def untagged(self, repository: RepositoryName) -> AsyncIterator[Digest]:
        """Every revision, those with tags too."""
        prefix = f"{_REPOSITORIES}{repository}/_manifests/revisions/"
        async for algorithm in self._store.directories(prefix):
            async for number in self._store.directories(f"{prefix}{algorithm}/"):
                digest = _digest(f"{algorithm}:{number}")
                if digest is not None:
                    yield digest

    async def manifest(self, repository: RepositoryName, digest: Digest) -> StoredManifest:
        """As ``Source.manifest``. Its media type is in it, or is told by its shape."""
        await self._link(
            f"{_REPOSITORIES}{repository}/_manifests/revisions/{digest.algorithm}/{digest.hex}/link"
        )
        async with self._opened(digest, MAX_SIZE + 1) as pieces:
            data = b"".join([piece async for piece in pieces])
        return StoredManifest(digest, "", data)

    async def referrers(self, repository: RepositoryName, subject: Digest) -> Sequence[Digest]:  # noqa: ARG002
        """None: they are under a tag, by which clients of registries without this API list them."""
        return ()

    async def held(self, repository: RepositoryName, digest: Digest, *, came: bool) -> bool:  # noqa: ARG002
        """As ``Source.held``: a link is a proof, which the old registry made of a push."""
        await self._link(
            f"{_REPOSITORIES}{repository}/_layers/{digest.algorithm}/{digest.hex}/link"
        )
        return True

    @asynccontextmanager
    async def blob(
        self,
        repository: RepositoryName,  # noqa: ARG002
        digest: Digest,
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """As ``Source.blob``."""
        async with self._opened(digest) as pieces:
            yield pieces

    async def place(
        self,
        repository: RepositoryName,  # noqa: ARG002
        digest: Digest,
        key: str,
        size: int,
    ) -> bool:
        """As ``Source.place``."""
        return await self._placing(_data(digest), key, size)

    @asynccontextmanager
    async def _opened(
        self, digest: Digest, most: int | None = None
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """Open a blob; ``SourceUnknown`` also where it has more bytes than ``most``."""
        async with AsyncExitStack() as stack:
            try:
                reader = await stack.enter_async_context(self._store.open(_data(digest)))
            except self._unreadable as error:
                raise SourceUnknown(str(error)) from None
            if most is not None and reader.size > most:
                raise SourceUnknown(f"{digest} has {reader.size} bytes: no manifest")
            yield self._pieces(reader)

    async def _pieces(self, reader: ContentReader) -> AsyncIterator[bytes]:
        try:
            async for piece in reader:
                yield piece
        except self._unreadable as error:
            raise SourceUnknown(str(error)) from None

    async def _link(self, key: str) -> Digest:
        try:
            data = (await self._store.get(key)).data
        except self._unreadable as error:
            raise SourceUnknown(str(error)) from None
        digest = _digest(data[:_LONGEST_LINK].decode("ascii", "replace").strip())
        if digest is None:
            raise SourceUnknown(f"{key} holds no digest")
        return digest


def _data(digest: Digest) -> str:
    return f"{ROOT}/blobs/{digest.algorithm}/{digest.hex[:2]}/{digest.hex}/data"


def _digest(text: str) -> Digest | None:
    try:
        return Digest.parse(text)
    except RegistryError:
        return None
