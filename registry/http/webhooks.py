"""Sending an event to a webhook: one request, to an allowed address, within a short time."""

import asyncio
import ipaddress
import socket
import ssl
import time
from collections.abc import Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Final

import aiohttp

from registry.service.webhooks.cloudevents import MEDIA_TYPE
from registry.service.webhooks.deliverer import Outcome, Send
from registry.service.webhooks.records import TellRecord
from registry.service.webhooks.signature import HEADER, signature
from registry.spec.destinations import DestinationRefused, Destinations
from registry.version import __version__

_READ: Final = 4096
"""Bytes of an answer that are read at the most; nobody looks at them."""

_CONNECTIONS: Final = 64
_INNER: Final = "its name leads to an inner network; see webhooks.allow_networks"
_refusals: ContextVar[list[object]] = ContextVar("refusals")
"""What was refused while a request looked for a connection."""


class HttpSender:
    """Sends by HTTP. No redirect is followed, no proxy asked, nothing of an answer kept."""

    def __init__(
        self,
        destinations: Destinations,
        *,
        ca_file: Path | None = None,
        seconds: float = 5.0,
        traces: Sequence[aiohttp.TraceConfig] = (),
    ) -> None:
        """Give each request ``seconds``; trust ``ca_file`` instead of the system's authorities."""
        self._destinations = destinations
        self._ca_file = ca_file
        self._seconds = seconds
        self._traces = traces
        self._session: aiohttp.ClientSession | None = None

    async def __call__(self, url: str, secret: str, event: TellRecord) -> Outcome:
        """See ``Send``."""
        began = time.monotonic()
        status, error = await self._post(url, secret, event)
        return Outcome(status, error, time.monotonic() - began)

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    async def _post(self, url: str, secret: str, event: TellRecord) -> tuple[int, str]:
        body, refused = event.body.encode(), list[object]()
        token = _refusals.set(refused)
        try:
            self._destinations.check(url)  # the configuration may have changed since
            session = self._session or await self._opened()
            headers = {
                "Content-Type": f"{MEDIA_TYPE}; charset=utf-8",
                HEADER: signature(secret, body, int(time.time())),
            }
            async with session.post(
                url, data=body, headers=headers, allow_redirects=False
            ) as answer:
                await answer.content.read(_READ)
                if 200 <= answer.status < 300:
                    return answer.status, ""
                redirect = ": redirects are not followed" if 300 <= answer.status < 400 else ""
                return answer.status, f"it answered {answer.status}{redirect}"
        except DestinationRefused as error:
            return 0, str(error)
        except TimeoutError:
            return 0, f"it did not answer within {self._seconds:g} seconds"
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return 0, _INNER if refused else _told(error)
        finally:
            _refusals.reset(token)

    async def _opened(self) -> aiohttp.ClientSession:
        trust = await asyncio.to_thread(self._trust)
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    ssl=trust,
                    limit=_CONNECTIONS,
                    use_dns_cache=False,
                    socket_factory=self._socket,
                ),
                timeout=aiohttp.ClientTimeout(total=self._seconds),
                headers={"User-Agent": f"moorage/{__version__}", "Accept": "*/*"},
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trace_configs=list(self._traces),
            )
        return self._session

    def _trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self._ca_file)

    def _socket(self, info: Any) -> socket.socket:
        """Make the socket of a connection, to an address that is allowed.

        The last moment before it is connected to: whatever the name resolved to when the webhook
        was made, or to whomever else just now, this is the address that counts.
        """
        family, kind, protocol, _, address = info
        if not self._destinations.admits(ipaddress.ip_address(str(address[0]).partition("%")[0])):
            _refusals.get([]).append(address)
            raise OSError("this address is not allowed")
        return socket.socket(family, kind, protocol)


def _told(error: Exception) -> str:
    """What went wrong, in words that tell nothing of our network."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientSSLError):
        return "its certificate is not trusted"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "its name can't be resolved"
    if isinstance(error, aiohttp.ClientConnectorError):
        return "it can't be connected to"
    return "it broke the connection off, or speaks no HTTP"


_: type[Send] = HttpSender
