"""Receiving a large body: from the socket straight into blocks, past the parser."""

import asyncio
from typing import Final, Protocol, cast, runtime_checkable

from aiohttp import StreamReader
from aiohttp.web import BaseRequest, RequestHandler

_LEAST: Final = 1024 * 1024
"""Bytes still to come for which it is worth it."""

_SMALLEST, _LARGEST = 64 * 1024, 1024 * 1024
"""Bytes of a block: the smallest for a client that brings little at a time."""


@runtime_checkable
class Connection(Protocol):
    """What a connection does here beside parsing requests."""

    def receive(self, receiver: asyncio.BufferedProtocol) -> None:
        """Let ``receiver`` have what the client sends from now on."""
        ...

    def received(self, content: StreamReader) -> None:
        """Have it again: the body is whole, and what follows is another request."""
        ...


def receive_in_blocks(request: BaseRequest) -> None:
    """Let what is still to come of a body come in blocks, if its length is known and it is large.

    It is read from ``request.content`` as ever, and all that holds for that goes on to hold: how
    much is held of it, how a broken connection is told, that what nobody reads is passed over. But
    a piece may be a ``memoryview``, which nobody changes.
    """
    connection, content = request.protocol, request.content
    if not isinstance(connection, Connection):
        return
    message = request._message  # noqa: SLF001
    if message.chunked or message.upgrade:
        return
    left = (request.content_length or 0) - content.total_bytes
    if left >= _LEAST and content.exception() is None:
        connection.receive(_Receiver(request.protocol, content, left))


class _Receiver(asyncio.BufferedProtocol):
    """Stands in for a connection until the last byte of a body has come."""

    def __init__(self, protocol: RequestHandler, content: StreamReader, left: int) -> None:
        self._protocol = protocol
        self._content = content
        self._left = left
        self._size = _SMALLEST
        self._rest = memoryview(b"")

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002  the kernel has more than that
        """Room for what comes next, and for nothing behind the body."""
        if not self._rest:
            self._rest = memoryview(bytearray(min(self._size, self._left)))
        return self._rest

    def buffer_updated(self, nbytes: int) -> None:
        """Pass on what came; larger blocks for who fills them at once."""
        piece, self._rest = self._rest[:nbytes], self._rest[nbytes:]
        if nbytes == self._size:
            self._size = min(2 * self._size, _LARGEST)
        self._left -= nbytes
        self._content.feed_data(cast("bytes", piece))  # it only asks for the length
        if not self._left:
            cast("Connection", self._protocol).received(self._content)

    def eof_received(self) -> None:
        """See ``asyncio.Protocol``."""
        self._protocol.eof_received()

    def connection_lost(self, exc: BaseException | None) -> None:
        """See ``asyncio.BaseProtocol``."""
        self._protocol.connection_lost(exc)

    def pause_writing(self) -> None:
        """See ``asyncio.BaseProtocol``."""
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        """See ``asyncio.BaseProtocol``."""
        self._protocol.resume_writing()
