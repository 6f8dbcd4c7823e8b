"""Asking another registry over HTTP: logging in where it wants it, and waiting where it is busy.

Nothing that it says is trusted: its addresses stay on its host (but where a blob is redirected,
then without credentials), and documents and lists have a largest size.
"""

import asyncio
import base64
import random
import re
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Final, Self, TypeVar
from urllib.parse import urlencode, urljoin, urlsplit

import aiohttp
import msgspec

from auth.urls import is_protected
from registry.service.imports.source import SourceUnavailable, SourceUnknown
from registry.spec.retries import wait_before

_DOCUMENT: Final = 64 * 1024 * 1024
"""Largest list, in bytes of all pages: some registries give all tags at once, whatever was asked
for."""

_PAGES: Final = 100_000
"""Most pages of a list."""

TRIES: Final = 5
PIECE: Final = 256 * 1024

_REFUSED: Final = frozenset({401, 403, 404, 405})
_BUSY: Final = frozenset({408, 429, 500, 502, 503, 504})
_FIRST, _LONGEST = 0.5, 60.0
"""Seconds before the second try, and before any other."""
_PARAMETER: Final = re.compile(r'([a-z_]+)="([^"\\]{0,2048})"')
_NEXT: Final = re.compile(r'<([^>]{1,2048})>\s*;\s*rel="?next"?').search

_T = TypeVar("_T")


class Refused(SourceUnknown):
    """What is asked for is not there, or not for us."""

    def __init__(self, what: str, status: int) -> None:
        super().__init__(f"{what}: it answers {status}")
        self.status = status


class OriginClient:
    """Sends requests to one registry. Entered before use."""

    def __init__(
        self,
        url: str,
        *,
        user: str = "",
        secret: str = "",
        ca_file: str = "",
        plain_http: bool = False,
    ) -> None:
        """``user`` and ``secret`` are sent with TLS, or to this machine, unless ``plain_http``.

        A ``secret`` without ``user`` is a bearer token. ``ValueError`` for an address that is none.
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
        """Its address."""
        self._user = user
        self._secret = secret
        self._plain_http = plain_http
        self._ca_file = ca_file
        self._authorization: dict[str, str] = {}
        self._session: aiohttp.ClientSession | None = None

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

    async def pages(self, path: str, scope: str) -> AsyncIterator[bytes]:
        """Yield a list page by page, as ``Link`` leads on (spec, "Listing Tags"; RFC 8288)."""
        seen, size = set[str](), 0
        while path not in seen:
            seen.add(path)
            headers, body = await self.get(path, scope, {"Accept": "application/json, */*"})
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

    async def get(
        self,
        path: str,
        scope: str,
        headers: Mapping[str, str],
        *,
        method: str = "GET",
        most: int = _DOCUMENT,
    ) -> tuple[Mapping[str, str], bytes]:
        """Return headers and body of an answer; once more, where its connection broke."""
        for attempt in range(2, TRIES + 2):
            answer = await self.send(method, path, scope, headers)
            try:
                body = await _body(answer, most)
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                if attempt > TRIES:
                    raise SourceUnavailable(f"{self.name}{path}: {error}") from error
                await asyncio.sleep(pause(attempt))
            else:
                return answer.headers, body
            finally:
                answer.release()
        raise SourceUnavailable(f"{self.name}{path} does not answer")

    async def send(
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
        for attempt in range(2, TRIES + 3):
            answer = await self._once(method, path, scope, headers, away=away)
            if answer is not None and answer.status < 300:
                return answer
            status = answer.status if answer is not None else 0
            wait = pause(attempt)
            if answer is not None:
                wait = max(wait, _retry_after(answer))
                challenges = answer.headers.getall("WWW-Authenticate", [])
                answer.release()
                if status == 401 and not asked:
                    asked = True
                    await self._log_in(challenges, scope)
                    continue
                if status in _REFUSED:
                    raise Refused(f"{self.name}{path}", status)
                if status not in _BUSY:
                    raise SourceUnavailable(f"{self.name}{path}: it answers {status}")
            if attempt > TRIES:
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
                body = await _body(answer, PIECE)
                status = answer.status
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise SourceUnavailable(f"{realm}: {error}") from error
        if status != 200:
            raise SourceUnavailable(f"{realm} refuses the login: it answers {status}")
        found = decoded(body, _Token)
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
    async for piece in answer.content.iter_chunked(PIECE):
        body += piece
        if len(body) > most:
            raise SourceUnavailable(f"{answer.url}: larger than {most} bytes")
    return bytes(body)


def decoded(body: bytes, kind: type[_T]) -> _T:
    """Read a document of the API. ``SourceUnavailable`` where it is none."""
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise SourceUnavailable(f"it answers what is no document of the API: {error}") from error


def pause(attempt: int) -> float:
    """Seconds to wait before a try."""
    return wait_before(attempt, _FIRST, random.random())  # noqa: S311  no secret


def _retry_after(answer: aiohttp.ClientResponse) -> float:
    text = answer.headers.get("Retry-After", "")
    return min(float(text), _LONGEST) if text.isascii() and text.isdecimal() else 0.0
