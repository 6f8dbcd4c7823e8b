"""Fetching documents from addresses that the configuration names, and from nowhere else.

No redirect is followed, a document has a largest size and a time to come in, and HTTP without TLS
only goes to this machine unless the configuration allows it.
"""

import asyncio
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiohttp

from auth.issuers import Fetch, FetchFailed
from auth.urls import is_protected

MAX_DOCUMENT: Final = 1024 * 1024
"""Largest document in bytes."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """An answer: its status, and its body of at most ``MAX_DOCUMENT`` bytes."""

    status: int
    body: bytes


class HttpFetch:
    """Fetches by HTTPS."""

    def __init__(
        self,
        session: Callable[[], aiohttp.ClientSession],
        *,
        ca_file: Path | None = None,
        token_file: Path | None = None,
        plain_http: bool = False,
        seconds: float = 5.0,
        most: int = MAX_DOCUMENT,
    ) -> None:
        """Use ``session``. Trust ``ca_file`` instead of the system's authorities, if given.

        The contents of ``token_file`` are sent as a bearer token, as Kubernetes wants it.
        ``plain_http`` lets documents come without TLS from other machines too. A document has at
        most ``most`` bytes.
        """
        self._session = session
        self._ca_file = ca_file
        self._token_file = token_file
        self._plain_http = plain_http
        self._most = most
        self._timeout = aiohttp.ClientTimeout(total=seconds)

    async def __call__(self, url: str) -> bytes:
        """See ``Fetch``."""
        found = await self.ask(url, await self._headers())
        if found.status != 200:
            raise FetchFailed(f"{url}: it answers {found.status}")
        return found.body

    async def ask(self, url: str, headers: Mapping[str, str]) -> Fetched:
        """Return whatever the address answers to a GET with these headers; ``FetchFailed``."""
        if not (is_protected(url) or (self._plain_http and url.startswith("http://"))):
            raise FetchFailed(f"{url}: only https is fetched: see plain_http")
        try:
            async with self._session().get(
                url,
                allow_redirects=False,
                timeout=self._timeout,
                headers=headers,
                ssl=await asyncio.to_thread(self._trust),
            ) as answer:
                return Fetched(answer.status, await _whole(answer, url, self._most))
        except TimeoutError as error:
            raise FetchFailed(f"{url}: it does not answer in time") from error
        except (aiohttp.ClientError, OSError, ssl.SSLError, ValueError) as error:
            raise FetchFailed(f"{url}: {error}") from error

    async def _headers(self) -> dict[str, str]:
        headers = {"Accept": "application/json, application/jwk-set+json"}
        if self._token_file is not None:
            try:
                token = await asyncio.to_thread(self._token_file.read_text)
            except (OSError, ValueError) as error:
                raise FetchFailed(f"{self._token_file}: {error}") from error
            headers["Authorization"] = f"Bearer {token.strip()}"
        return headers

    def _trust(self) -> ssl.SSLContext | bool:
        """Read anew each time: these files are rotated, and fetches are rare."""
        if self._ca_file is None:
            return True
        return ssl.create_default_context(cafile=self._ca_file)


async def _whole(answer: aiohttp.ClientResponse, url: str, most: int) -> bytes:
    body = bytearray()
    async for data in answer.content.iter_any():
        body += data
        if len(body) > most:
            raise FetchFailed(f"{url}: larger than {most} bytes")
    return bytes(body)


_: type[Fetch] = HttpFetch
