"""The listener: accepts connections, with certificates that change without a restart.

It is closed with a drain that loses no request.
"""

import asyncio
import logging
import socket
from typing import Any

from registry.config import ServerConfig, TLSConfig
from registry.http.accept import Acceptor
from registry.http.connection import Connection
from registry.http.connections import ConnectionObserver, Connections, Handler
from registry.http.tls import Certificate
from registry.shares import Part

_log = logging.getLogger("moorage.listener")


class Listener:
    """Serves one endpoint on one or more listening sockets."""

    def __init__(
        self,
        endpoint: Handler,
        config: ServerConfig,
        tls: TLSConfig,
        observer: ConnectionObserver,
        *,
        certificate: Certificate | None = None,
        part: Part | None = None,
    ) -> None:
        """Nothing is accepted until ``start``. ``part``: other workers accept, too."""
        self._tls = tls
        self._certificate = certificate
        self._web = Connections(endpoint, config, observer, part)
        self._acceptors: list[Acceptor] = []
        observer.watch_connections(lambda: len(self._web.connections))

    def start(self, sockets: list[socket.socket]) -> None:
        """Accept connections on ``sockets``, which listen."""
        web = self._web
        options: dict[str, Any] = {}
        if self._certificate is not None:
            options = {
                "ssl": self._certificate.context,
                "ssl_handshake_timeout": self._tls.handshake_seconds,
                "ssl_shutdown_timeout": 5.0,
            }
        ahead = web.part.ahead if web.part is not None else None
        for sock in sockets:
            self._acceptors.append(Acceptor(sock, web, ahead, options))

    async def drain(self, seconds: float, hurry: asyncio.Event) -> None:
        """Stop accepting, close idle connections, and let running requests finish.

        After ``seconds``, or when ``hurry`` is set, those that still run are cancelled: their
        uploads can be resumed.
        """
        for acceptor in self._acceptors:
            acceptor.close()
        self._web.draining = True
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while connections := self._web.connections:
            for connection in connections:
                assert isinstance(connection, Connection)  # noqa: S101  made by ``Connections``
                connection.close_idle()
            if hurry.is_set() or loop.time() >= until:
                _log.warning("%d requests did not finish in time: cancelled", len(connections))
                break
            await asyncio.sleep(0.02)
        await self._web.shutdown(0.5)
