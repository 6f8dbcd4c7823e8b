"""A registry to import from, by the distribution API: another one's, or another Moorage.

Nothing that it says is trusted: its addresses stay on its host (but where a blob is redirected,
then without credentials), documents and lists have a largest size, and what comes is compared with
its digest by who asked for it.
"""

import asyncio
import base64
import logging
import random
import re
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final, Self, TypeVar
from urllib.parse import urlencode, urljoin, urlsplit

import aiohttp
import msgspec

from auth.urls import is_protected
from registry.service.imports.source import SourceUnavailable, SourceUnknown
from registry.service.stored import StoredManifest
from registry.spec.digest import Digest
from registry.spec.errors import RegistryError
from registry.spec.manifest import MAX_SIZE
from registry.spec.mediatype import IMAGES, INDEXES, OCI_ARTIFACT
from registry.spec.names import RepositoryName, Tag
from registry.spec.retries import wait_before

_log = logging.getLogger("moorage.import")

_ACCEPT: Final = ", ".join(sorted((*IMAGES, *INDEXES, OCI_ARTIFACT)))
_DOCUMENT: Final = 64 * 1024 * 1024
"""Largest list, in bytes of all pages: some registries give all tags at once, whatever was asked
for."""

_PAGES: Final = 100_000
"""Most pages of a list."""

_PAGE: Final = 1000
_TRIES: Final = 5
_REFUSED: Final = frozenset({401, 403, 404, 405})
_BUSY: Final = frozenset({408, 429, 500, 502, 503, 504})
_PIECE: Final = 256 * 1024
_FIRST, _LONGEST = 0.5, 60.0
"""Seconds before the second try, and before any other."""
_PARAMETER: Final = re.compile(r'([a-z_]+)="([^"\\]{0,2048})"')
_NEXT: Final = re.compile(r'<([^>]{1,2048})>\s*;\s*rel="?next"?').search


class _Refused(SourceUnknown):
    """What is asked for is not there, or not for us."""

    def __init__(self, what: str, status: int) -> None:
        super().__init__(f"{what}: it answers {status}")
        self.status = status


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
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/"):
            raise ValueError(f"{url!a} is no address of a registry: write https://host[:port]")
        if parts.username or parts.password:
            raise ValueError("credentials do not belong into the address: it can be seen by others")
        if not (is_protected(url) or plain_http):
            raise ValueError(f"{url} is without TLS, on another machine: see --plain-http")
        self._base = f"{parts.scheme}://{parts.netloc}"
        self.name = self._base
        self._user = user
        self._secret = secret
        self._plain_http = plain_http
        self.selection = sorted(set(repositories))
        self._ca_file = ca_file
        self._authorization: dict[str, str] = {}
        self._session: aiohttp.ClientSession | None = None
        self._lists_referrers = True

    async def __aenter__(self) -> Self:
        trust: ssl.SSLContext | bool = True
        if self._ca_file:
            trust = await asyncio.to_thread(ssl.create_default_context, cafile=self._ca_file)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=32, ssl=trust),
            timeout=aiohttp.ClientTimeout(sock_connect=10, sock_read=60),
            headers={"User-Agent": "moorage", "Accept-Encoding": "identity"},
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def repositories(self, after: str) -> AsyncIterator[str]:
        """As ``Source``. ``SourceUnavailable`` where the registry has no catalog for us."""
        if self.selection:
            for name in self.selection:
                if name > after:
                    yield name
            return
        query = {"n": str(_PAGE), **({"last": after} if after else {})}
        try:
            async for page in self._pages("/v2/_catalog?" + urlencode(query), "registry:catalog:*"):
                for name in _decoded(page, _Names).repositories or ():
                    yield name
        except SourceUnknown as error:
            raise SourceUnavailable(
                f"{self.name} lists no repositories: name them with --repository"
            ) from error

    async def tags(self, repository: RepositoryName) -> Sequence[str]:
        """As ``Source``."""
        found: list[str] = []
        path = f"/v2/{repository}/tags/list?n={_PAGE}"
        async for page in self._pages(path, _pull(repository)):
            found += _decoded(page, _Names).tags or ()
        return found

    async def resolve(self, repository: RepositoryName, tag: Tag) -> Digest:
        """As ``Source``: what the registry says, which the manifest is compared with."""
        path = f"/v2/{repository}/manifests/{tag}"
        headers, _ = await self._get(path, _pull(repository), {"Accept": _ACCEPT}, method="HEAD")
        text = headers.get("Docker-Content-Digest", "")
        if text:
            try:
                return Digest.parse(text)
            except RegistryError as error:
                raise SourceUnavailable(f"{path}: {error.message}") from error
        _, body = await self._get(path, _pull(repository), {"Accept": _ACCEPT})
        return Digest.of(body)

    async def untagged(self, repository: RepositoryName) -> AsyncIterator[Digest]:  # noqa: ARG002
        """None: the API lists what has tags, and what refers to it."""
        for digest in tuple[Digest, ...]():
            yield digest

    async def manifest(self, repository: RepositoryName, digest: Digest) -> StoredManifest:
        """As ``Source``."""
        path = f"/v2/{repository}/manifests/{digest}"
        headers, body = await self._get(path, _pull(repository), {"Accept": _ACCEPT}, most=MAX_SIZE)
        return StoredManifest(digest, headers.get("Content-Type", ""), body)

    async def referrers(self, repository: RepositoryName, subject: Digest) -> Sequence[Digest]:
        """As ``Source``; none where the registry does not know this API (404), which is logged."""
        if not self._lists_referrers:
            return ()
        found: list[Digest] = []
        try:
            path = f"/v2/{repository}/referrers/{subject}"
            async for page in self._pages(path, _pull(repository)):
                listed = _decoded(page, _Referrers).manifests
                found += [Digest.parse(each.digest) for each in listed]
        except _Refused as error:
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
            answer = await self._send("HEAD", path, _pull(repository), {}, away=True)
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
        answer = await self._send("GET", path, _pull(repository), {}, away=True)

        async def pieces() -> AsyncIterator[bytes]:
            nonlocal answer
            offset, tries = 0, 1
            while True:
                try:
                    async for piece in answer.content.iter_chunked(_PIECE):
                        offset, tries = offset + len(piece), 1
                        yield piece
                except (aiohttp.ClientError, TimeoutError, OSError) as error:
                    if tries == _TRIES:
                        raise SourceUnavailable(f"{self.name}{path}: {error}") from error
                    tries += 1
                    await asyncio.sleep(_pause(tries))
                    answer.close()
                    rest = {"Range": f"bytes={offset}-"}
                    answer = await self._send("GET", path, _pull(repository), rest, away=True)
                    if answer.status != 206:
                        raise SourceUnavailable(f"{self.name}{path} broke off") from error
                else:
                    return

        try:
            yield pieces()
        finally:
            answer.close()

    async def place(self, repository: RepositoryName, digest: Digest, key: str) -> bool:  # noqa: ARG002
        """Never: its bytes have to come here."""
        return False

    async def _pages(self, path: str, scope: str) -> AsyncIterator[bytes]:
        """Yield a list page by page, as ``Link`` leads on (spec, "Listing Tags"; RFC 8288)."""
        seen, size = set[str](), 0
        while path not in seen:
            seen.add(path)
            headers, body = await self._get(path, scope, {"Accept": "application/json, */*"})
            size += len(body)
            if size > _DOCUMENT or len(seen) > _PAGES:
                raise SourceUnavailable(f"{self.name}{path}: the list does not end")
            yield body
            following = _NEXT(headers.get("Link", ""))
            if following is None:
                return
            url = urljoin(self._base + path, following[1])
            if not url.startswith(f"{self._base}/"):
                raise SourceUnavailable(f"{self.name}{path} leads to another host: {url!a}")
            path = url[len(self._base) :]

    async def _get(
        self,
        path: str,
        scope: str,
        headers: Mapping[str, str],
        *,
        method: str = "GET",
        most: int = _DOCUMENT,
    ) -> tuple[Mapping[str, str], bytes]:
        """Return headers and body of an answer; once more, where its connection broke."""
        for attempt in range(2, _TRIES + 2):
            answer = await self._send(method, path, scope, headers)
            try:
                body = await _body(answer, most)
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                if attempt > _TRIES:
                    raise SourceUnavailable(f"{self.name}{path}: {error}") from error
                await asyncio.sleep(_pause(attempt))
            else:
                return answer.headers, body
            finally:
                answer.release()
        raise SourceUnavailable(f"{self.name}{path} does not answer")

    async def _send(
        self,
        method: str,
        path: str,
        scope: str,
        headers: Mapping[str, str],
        *,
        away: bool = False,
    ) -> aiohttp.ClientResponse:
        """Send a request and return its answer, 2xx; the caller lets go of it.

        It logs in where it has to, waits where the registry is busy, and follows to other hosts if
        it may go ``away``. ``SourceUnknown`` for what is not there, or not for us.
        """
        asked = False
        for attempt in range(2, _TRIES + 3):
            answer = await self._once(method, path, scope, headers, away=away)
            if answer is not None and answer.status < 300:
                return answer
            status = answer.status if answer is not None else 0
            wait = _pause(attempt)
            if answer is not None:
                wait = max(wait, _retry_after(answer))
                challenges = answer.headers.getall("WWW-Authenticate", [])
                answer.release()
                if status == 401 and not asked:
                    asked = True
                    await self._log_in(challenges, scope)
                    continue
                if status in _REFUSED:
                    raise _Refused(f"{self.name}{path}", status)
                if status not in _BUSY:
                    raise SourceUnavailable(f"{self.name}{path}: it answers {status}")
            if attempt > _TRIES:
                break
            await asyncio.sleep(wait)
        raise SourceUnavailable(f"{self.name}{path}: it answers {status or 'nothing'}")

    async def _once(
        self, method: str, path: str, scope: str, headers: Mapping[str, str], *, away: bool
    ) -> aiohttp.ClientResponse | None:
        """One try; ``None`` where there is no answer. aiohttp drops ``Authorization`` elsewhere."""
        if self._session is None:
            raise TypeError("it is not open")
        sent = dict(headers)
        known = self._authorization.get(scope) or self._authorization.get("")
        if known:
            sent["Authorization"] = known
        try:
            return await self._session.request(
                method,
                self._base + path,
                headers=sent,
                allow_redirects=away,
                max_redirects=5,
            )
        except (aiohttp.ClientError, TimeoutError, OSError):
            return None

    async def _log_in(self, challenges: Sequence[str], scope: str) -> None:
        """Do what a challenge asks for (RFC 9110 §11.6.1; distribution's token specification)."""
        for challenge in challenges:
            scheme, _, rest = challenge.partition(" ")
            if scheme.lower() == "basic" and self._user:
                self._authorization[""] = self._basic()
                return
            if scheme.lower() == "bearer":
                if self._secret and not self._user:
                    self._authorization[""] = f"Bearer {self._secret}"
                    return
                parameters = dict(_PARAMETER.findall(rest))
                self._authorization[scope] = f"Bearer {await self._token(parameters, scope)}"
                return
        raise SourceUnavailable(f"{self.name} asks for a login: name a user and a secret")

    async def _token(self, parameters: Mapping[str, str], scope: str) -> str:
        realm = parameters.get("realm", "")
        if not (is_protected(realm) or (self._plain_http and realm.startswith("http://"))):
            raise SourceUnavailable(f"{self.name} sends logins to {realm!a}, without TLS")
        query = {"service": parameters.get("service", ""), "scope": parameters.get("scope", scope)}
        headers = {"Authorization": self._basic()} if self._user else {}
        if self._session is None:
            raise TypeError("it is not open")
        url = realm + ("&" if "?" in realm else "?") + urlencode(query)
        try:
            async with self._session.get(url, headers=headers, allow_redirects=False) as answer:
                body = await _body(answer, _PIECE)
                status = answer.status
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise SourceUnavailable(f"{realm}: {error}") from error
        if status != 200:
            raise SourceUnavailable(f"{realm} refuses the login: it answers {status}")
        found = _decoded(body, _Token)
        token = found.token or found.access_token
        if not token:
            raise SourceUnavailable(f"{realm} gives no token")
        return token

    def _basic(self) -> str:
        return "Basic " + base64.b64encode(f"{self._user}:{self._secret}".encode()).decode()


class _Token(msgspec.Struct):
    token: str = ""
    access_token: str = ""


async def _body(answer: aiohttp.ClientResponse, most: int) -> bytes:
    """Read all of an answer. ``SourceUnavailable`` where it has more than ``most`` bytes."""
    body = bytearray()
    async for piece in answer.content.iter_chunked(_PIECE):
        body += piece
        if len(body) > most:
            raise SourceUnavailable(f"{answer.url}: larger than {most} bytes")
    return bytes(body)


_T = TypeVar("_T")


def _decoded(body: bytes, kind: type[_T]) -> _T:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise SourceUnavailable(f"it answers what is no document of the API: {error}") from error


def _pull(repository: RepositoryName) -> str:
    return f"repository:{repository}:pull"


def _pause(attempt: int) -> float:
    return wait_before(attempt, _FIRST, random.random())  # noqa: S311  no secret


def _retry_after(answer: aiohttp.ClientResponse) -> float:
    text = answer.headers.get("Retry-After", "")
    return min(float(text), _LONGEST) if text.isascii() and text.isdecimal() else 0.0
