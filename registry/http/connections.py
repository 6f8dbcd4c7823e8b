"""The connections of a listener: how many there are, and what a request knows of its own."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from aiohttp import StreamReader, hdrs
from aiohttp.abc import AbstractStreamWriter
from aiohttp.helpers import reify
from aiohttp.web import BaseRequest, RequestHandler, Server, StreamResponse

from registry.config import ServerConfig
from registry.http.connection import READ_BUFFER, Connection, parsing
from registry.http.forwarded import Proxies
from registry.http.observe import Observer
from registry.shares import Part

_log = logging.getLogger("moorage.listener")

Handler = Callable[[BaseRequest], Awaitable[StreamResponse]]


class ConnectionObserver(Observer, Protocol):
    """Hears of requests, and of connections that were closed on a client."""

    def connection_closed(self, reason: str) -> None:
        """The reason is limit, head_timeout or malformed."""
        ...

    def watch_connections(self, count: Callable[[], int]) -> None:
        """``count`` gives the number of open connections."""
        ...


class _Request(BaseRequest):
    """A request whose answer is the connection's last once the listener drains."""

    def __init__(self, *parts: Any, web: "Connections") -> None:
        super().__init__(*parts)
        self._web = web

    @reify
    def remote(self) -> str:
        """The address of the client: of the connection, or what a proxy says that is believed."""
        address = super().remote or ""
        proxies = self._web.proxies
        if proxies and hdrs.X_FORWARDED_FOR in self.headers:
            return proxies.client(address, self.headers.getall(hdrs.X_FORWARDED_FOR))
        return address

    @reify
    def scheme(self) -> str:
        """``https`` where the client speaks TLS: to this process, or to a proxy as for ``remote``.

        What clients are told goes by ``registry.http.login.is_secure``, not by this.
        """
        proxies, transport = self._web.proxies, self.transport
        if proxies and transport is not None and hdrs.X_FORWARDED_PROTO in self.headers:
            peer = (transport.get_extra_info("peername") or ("",))[0]
            if proxies.secure(peer, self.headers.getall(hdrs.X_FORWARDED_PROTO)):
                return "https"
        return super().scheme

    @property
    def keep_alive(self) -> bool:
        """Whether another request may follow."""
        connection = self.protocol
        assert isinstance(connection, Connection)  # noqa: S101  made by ``Connections``
        last = self._web.draining or connection.is_last(self.content)
        return not last and super().keep_alive


class Connections(Server):
    """The connections of one listener."""

    def __init__(
        self,
        handler: Handler,
        config: ServerConfig,
        observer: ConnectionObserver,
        part: Part | None,
    ) -> None:
        super().__init__(handler)
        self.part = part
        self.config = config
        self.observer = observer
        self.proxies = Proxies(config.trusted_proxies)
        self.draining = False

    @property
    def full(self) -> bool:
        """Whether there are as many as there may be."""
        return len(self._connections) >= self.config.max_connections

    def connection_made(self, handler: RequestHandler, transport: asyncio.Transport) -> None:
        """Count it."""
        super().connection_made(handler, transport)
        self._note()

    def connection_lost(self, handler: RequestHandler, exc: BaseException | None = None) -> None:
        """Count it no more."""
        super().connection_lost(handler, exc)
        self._note()

    def _note(self) -> None:
        if self.part is not None:
            self.part.note(len(self._connections))

    def _make_request(
        self,
        message: Any,
        payload: StreamReader,
        protocol: RequestHandler,
        writer: AbstractStreamWriter,
        task: "asyncio.Task[None]",
    ) -> BaseRequest:
        return _Request(message, payload, protocol, writer, task, self._loop, web=self)

    def __call__(self) -> Connection:
        """Make a connection, for which nothing was accepted yet."""
        config = self.config
        return Connection(
            self,
            loop=self._loop,
            access_log=None,
            logger=_log,
            keepalive_timeout=config.idle_seconds,
            read_bufsize=READ_BUFFER,
            **parsing(config),
        )
