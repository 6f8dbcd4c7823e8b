"""A registry to import from, by the distribution API: another one's, or another Moorage.

What comes is compared with its digest by who asked for it.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final, Self
from urllib.parse import urlencode

import aiohttp
import msgspec

from registry.http.origin_client import PIECE, TRIES, OriginClient, Refused, decoded, pause
from registry.service.imports.source import SourceUnavailable, SourceUnknown
from registry.service.stored import StoredManifest
from registry.spec.digest import Digest
from registry.spec.errors import RegistryError
from registry.spec.manifest import MAX_SIZE
from registry.spec.mediatype import IMAGES, INDEXES, OCI_ARTIFACT
from registry.spec.names import RepositoryName, Tag

_log = logging.getLogger("moorage.import")

_ACCEPT: Final = ", ".join(sorted((*IMAGES, *INDEXES, OCI_ARTIFACT)))
_PAGE: Final = 1000


class _Names(msgspec.Struct):
    repositories: list[str] | None = None
    tags: list[str] | None = None


class _Referrer(msgspec.Struct):
    digest: str


class _Referrers(msgspec.Struct):
    manifests: list[_Referrer] = []


class Origin:
    """As ``Source``, over HTTP. Entered before use."""

    def __init__(
        self,
        url: str,
        *,
        user: str = "",
        secret: str = "",
        repositories: Sequence[str] = (),
        ca_file: str = "",
        plain_http: bool = False,
    ) -> None:
        """Import from ``url``: ``repositories``, or what its catalog lists.

        ``user`` and ``secret`` are sent with TLS only, or to this machine, unless ``plain_http``;
        a ``secret`` without ``user`` is a bearer token. ``ValueError`` for an address that is none.
        """
        self._client = OriginClient(
            url, user=user, secret=secret, ca_file=ca_file, plain_http=plain_http
        )
        self.name = self._client.name
        self.selection = sorted(set(repositories))
        self._lists_referrers = True

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._client.__aexit__(*error)

    async def repositories(self, after: str) -> AsyncIterator[str]:
        """As ``Source``. ``SourceUnavailable`` where the registry has no catalog for us."""
        if self.selection:
            for name in self.selection:
                if name > after:
                    yield name
            return
        query = {"n": str(_PAGE), **({"last": after} if after else {})}
        try:
            async for page in self._client.pages(
                "/v2/_catalog?" + urlencode(query), "registry:catalog:*"
            ):
                for name in decoded(page, _Names).repositories or ():
                    yield name
        except SourceUnknown as error:
            raise SourceUnavailable(
                f"{self.name} lists no repositories: name them with --repository"
            ) from error

    async def tags(self, repository: RepositoryName) -> Sequence[str]:
        """As ``Source``."""
        found: list[str] = []
        path = f"/v2/{repository}/tags/list?n={_PAGE}"
        async for page in self._client.pages(path, _pull(repository)):
            found += decoded(page, _Names).tags or ()
        return found

    async def resolve(self, repository: RepositoryName, tag: Tag) -> Digest:
        """As ``Source``: what the registry says, which the manifest is compared with."""
        path = f"/v2/{repository}/manifests/{tag}"
        headers, _ = await self._client.get(
            path, _pull(repository), {"Accept": _ACCEPT}, method="HEAD"
        )
        text = headers.get("Docker-Content-Digest", "")
        if text:
            try:
                return Digest.parse(text)
            except RegistryError as error:
                raise SourceUnavailable(f"{path}: {error.message}") from error
        _, body = await self._client.get(path, _pull(repository), {"Accept": _ACCEPT})
        return Digest.of(body)

    async def untagged(self, repository: RepositoryName) -> AsyncIterator[Digest]:  # noqa: ARG002
        """None: the API lists what has tags, and what refers to it."""
        for digest in tuple[Digest, ...]():
            yield digest

    async def manifest(self, repository: RepositoryName, digest: Digest) -> StoredManifest:
        """As ``Source``."""
        path = f"/v2/{repository}/manifests/{digest}"
        headers, body = await self._client.get(
            path, _pull(repository), {"Accept": _ACCEPT}, most=MAX_SIZE
        )
        return StoredManifest(digest, headers.get("Content-Type", ""), body)

    async def referrers(self, repository: RepositoryName, subject: Digest) -> Sequence[Digest]:
        """As ``Source``; none where the registry does not know this API (404), which is logged."""
        if not self._lists_referrers:
            return ()
        found: list[Digest] = []
        try:
            path = f"/v2/{repository}/referrers/{subject}"
            async for page in self._client.pages(path, _pull(repository)):
                listed = decoded(page, _Referrers).manifests
                found += [Digest.parse(each.digest) for each in listed]
        except Refused as error:
            if error.status not in (404, 405):
                raise
            self._lists_referrers = False
            _log.warning("%s lists no referrers: those without a tag stay there", self.name)
        except RegistryError as error:
            raise SourceUnavailable(f"{path}: {error.message}") from error
        return found

    async def held(self, repository: RepositoryName, digest: Digest, *, came: bool) -> bool:
        """As ``Source``. Its word alone is no proof: it may name what only others here have."""
        if not came:
            return False
        try:
            path = f"/v2/{repository}/blobs/{digest}"
            answer = await self._client.send("HEAD", path, _pull(repository), {}, away=True)
        except SourceUnknown:
            return False  # where it redirects to may answer GET only
        answer.release()
        return True

    @asynccontextmanager
    async def blob(
        self, repository: RepositoryName, digest: Digest
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """As ``Source``. A connection that breaks is made anew, and goes on where it was."""
        path = f"/v2/{repository}/blobs/{digest}"
        answer = await self._client.send("GET", path, _pull(repository), {}, away=True)

        async def pieces() -> AsyncIterator[bytes]:
            nonlocal answer
            offset, tries = 0, 1
            while True:
                try:
                    async for piece in answer.content.iter_chunked(PIECE):
                        offset, tries = offset + len(piece), 1
                        yield piece
                except (aiohttp.ClientError, TimeoutError, OSError) as error:
                    if tries == TRIES:
                        raise SourceUnavailable(f"{self.name}{path}: {error}") from error
                    tries += 1
                    await asyncio.sleep(pause(tries))
                    answer.close()
                    rest = {"Range": f"bytes={offset}-"}
                    answer = await self._client.send(
                        "GET", path, _pull(repository), rest, away=True
                    )
                    if answer.status != 206:
                        raise SourceUnavailable(f"{self.name}{path} broke off") from error
                else:
                    return

        try:
            yield pieces()
        finally:
            answer.close()

    async def place(self, *_: object) -> bool:
        """Never: its bytes have to come here."""
        return False


def _pull(repository: RepositoryName) -> str:
    return f"repository:{repository}:pull"
