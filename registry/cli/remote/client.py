"""A client of the management API."""

import ipaddress
import json
import ssl
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import quote, urlsplit

import aiohttp

from registry.cli.errors import Failed, UsageError
from registry.cli.remote.credentials import Login
from registry.http.management.inputs import in_path
from registry.http.management.route import PREFIX, Route
from registry.http.management.table import ROUTES
from registry.version import __version__

_ROUTES: Final[Mapping[str, Route]] = {route.action: route for route in ROUTES}
_NONE: Final[Mapping[str, Any]] = {}
_MAX_ANSWER: Final = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Said:
    """An answer: its status, its document (``None``: it has none), and its ``ETag``."""

    status: int
    value: Any
    etag: str


class Client:
    """Asks one registry. An async context; what can't be done raises ``Failed``."""

    def __init__(
        self,
        url: str,
        login: Login | None,
        *,
        ca_file: str = "",
        seconds: float = 30.0,
        plain_http: bool = False,
    ) -> None:
        """Ask the registry at ``url``, and give each request so many ``seconds``.

        ``UsageError`` where the address is none, the authorities can't be read, or a secret would
        cross a network in the clear; ``plain_http`` allows that.
        """
        self._url = _checked(url, secret=login is not None, plain_http=plain_http)
        self._login = login
        self._ssl = _trust(ca_file)
        self._seconds = seconds
        self._session: aiohttp.ClientSession | None = None

    @property
    def secret(self) -> str:
        """The secret that it logs in with, ``""`` for none."""
        return self._login.secret if self._login is not None else ""

    async def __aenter__(self) -> Self:
        headers = {"User-Agent": f"moorage/{__version__}", "Accept": "application/json"}
        if self._login is not None:
            headers["Authorization"] = (
                aiohttp.encode_basic_auth(self._login.user, self._login.secret, "utf-8")
                if self._login.user
                else f"Bearer {self._login.secret}"
            )
        self._session = aiohttp.ClientSession(
            headers=headers,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=self._seconds),
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def ask(
        self,
        action: str,
        path: Mapping[str, str] = _NONE,
        body: Mapping[str, Any] | None = None,
        *,
        query: Mapping[str, Any] = _NONE,
        etag: str = "",
        only_new: bool = False,
    ) -> Said:
        """Make the request that ``action`` names, with the parameters of its ``path``.

        ``etag``: only if that is still what is there; ``only_new``: only if nothing is.
        """
        route = _ROUTES[action]
        return await self._send(route, _target(route, path, query), body, etag, only_new)

    async def pages(
        self, action: str, path: Mapping[str, str] = _NONE, *, query: Mapping[str, Any] = _NONE
    ) -> AsyncIterator[dict[str, Any]]:
        """Yield every item of a list, page by page."""
        after: str | None = ""
        while after is not None:
            asked = {**query, **({"after": after} if after else {})}
            page = (await self.ask(action, path, query=asked)).value
            for item in page["items"]:
                yield item
            after = page["next"]

    async def _send(
        self,
        route: Route,
        target: str,
        body: Mapping[str, Any] | None,
        etag: str,
        only_new: bool,  # noqa: FBT001 -- named by ``ask``
    ) -> Said:
        assert self._session is not None  # noqa: S101 -- inside the context
        headers = {}
        if etag:
            headers["If-Match"] = etag
        if only_new:
            headers["If-None-Match"] = "*"
        try:
            async with self._session.request(
                route.method,
                self._url + target,
                json=body,
                headers=headers,
                ssl=self._ssl,
                allow_redirects=False,
            ) as answer:
                return _read(answer.status, answer.headers, await _whole(answer))
        except aiohttp.ClientConnectorCertificateError as error:
            raise Failed(
                f"{self._url}: its certificate is not trusted: name the authority that signed it "
                f"with --ca-file ({error.certificate_error})"
            ) from error
        except TimeoutError as error:
            raise Failed(f"{self._url}: no answer within {self._seconds:g} seconds") from error
        except aiohttp.ClientError as error:
            raise Failed(f"{self._url}: {error}") from error


async def _whole(answer: aiohttp.ClientResponse) -> bytes:
    data = bytearray()
    async for part in answer.content.iter_chunked(1 << 16):
        data += part
        if len(data) > _MAX_ANSWER:
            raise Failed("the answer is larger than any that the management API gives")
    return bytes(data)


def _read(status: int, headers: Mapping[str, str], data: bytes) -> Said:
    try:
        value = json.loads(data) if data else None
    except ValueError:
        value = None
    if status >= 300:
        raise Failed(_refusal(status, headers, value))
    if data and value is None:
        raise Failed("this is no management API of a registry: the answer is no JSON")
    return Said(status, value, headers.get("ETag", ""))


def _refusal(status: int, headers: Mapping[str, str], value: Any) -> str:
    if not isinstance(value, dict) or "detail" not in value:
        return f"this is no management API of a registry: it answered {status}"
    said = str(value["detail"])
    if status == 401:
        said += " (log in: --user, or MOORAGE_TOKEN_FILE)"
    if headers.get("Retry-After"):
        said += f" (again in {headers['Retry-After']} s)"
    if status >= 500:
        said += f" (request {value.get('request_id', '')})"
    return said


def _target(route: Route, path: Mapping[str, str], query: Mapping[str, Any]) -> str:
    values = {
        name: in_path(value) if name == "repository" else value for name, value in path.items()
    }
    pairs = [
        f"{name}={quote(str(each), safe='')}"
        for name, value in query.items()
        for each in (value if isinstance(value, list | tuple) else [value])
        if each is not None
    ]
    return PREFIX + route.path.url(**values) + ("?" + "&".join(pairs) if pairs else "")


def _checked(url: str, *, secret: bool, plain_http: bool) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise UsageError(f"{url!r} is no address of a registry such as https://registry.example")
    if "@" in parts.netloc:
        raise UsageError("the address holds credentials, which others can read: use --user")
    if secret and parts.scheme == "http" and not plain_http and not _loopback(parts.hostname):
        raise UsageError(
            f"{url} would send the secret in the clear: use https, or --plain-http if the network "
            "is trusted"
        )
    return url.rstrip("/")


def _loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _trust(ca_file: str) -> ssl.SSLContext | bool:
    if not ca_file:
        return True
    try:
        return ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise UsageError(f"{ca_file}: no certificates of authorities in it: {error}") from error
