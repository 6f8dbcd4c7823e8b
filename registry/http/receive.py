"""Receiving a large body: from the socket straight into blocks, past the parser."""

import asyncio
from collections.abc import Iterator
from typing import Final, Protocol, cast, runtime_checkable

from aiohttp import HttpVersion11, StreamReader
from aiohttp.http_parser import RawRequestMessage
from aiohttp.web import BaseRequest, RequestHandler

from registry.http.chunked import ChunkedDecoder, MalformedError

_LEAST: Final = 1024 * 1024
"""Bytes still to come for which it is worth it."""

_SMALLEST, _LARGEST = 64 * 1024, 1024 * 1024
"""Bytes of a block: the smallest for a client that brings little at a time."""

_ROOM: Final = 16 * 1024
"""Bytes of a block below which what is left of it is not worth a call of the kernel."""

_PIECES: Final = 4096
"""Chunks that are decoded in one go, some 10 ms of it: a block holds 200,000 of the smallest."""

_SMALL: Final = 512
"""Bytes of a piece up to which it is copied: a ``memoryview`` takes 200 bytes itself."""


@runtime_checkable
class Connection(Protocol):
    """What a connection does here beside parsing requests."""

    def receive(self, receiver: asyncio.BufferedProtocol) -> None:
        """Let ``receiver`` have what the client sends from now on."""
        ...

    def received(self, content: StreamReader, behind: bytes = b"") -> None:
        """Have it again: the body is whole, and what follows (``behind``) is another request."""
        ...

    def hold(self) -> None:
        """Take nothing from the client before ``go_on``, even where there is room for it."""
        ...

    def go_on(self) -> None:
        """Take what the client sends again, where there is room for it."""
        ...

    def broken(self, content: StreamReader, reason: str) -> None:
        """Where the body ends is not known: answer its request, and take no other."""
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
        connection.receive(_SizedReceiver(request.protocol, content, left))


def begins_chunked_body(message: object, content: StreamReader) -> bool:
    """Whether the parser stands at the first byte of a chunked body.

    It is to be asked when the parser was given bytes that end with the first ``CRLF CRLF`` in
    them, and gave this one message for them. Then it does not matter where it stood before: the
    bytes end with the head, or there is more of the body in them. But there is nothing that is
    part of a chunked body, ends so, and is neither content nor the body's end.
    """
    return (
        isinstance(message, RawRequestMessage)
        and bool(message.chunked)
        and not message.upgrade
        and message.version == HttpVersion11
        and not content.total_bytes
        and not content.is_eof()
        and content.exception() is None
    )


def receive_chunks(protocol: RequestHandler, content: StreamReader, began: bytes) -> None:
    """Let a chunked body come in blocks from its first byte on; ``began`` came with the head.

    As with ``receive_in_blocks``, but pieces come joined, whatever the size of the chunks.
    """
    receiver = _ChunkedReceiver(protocol, content, began)
    cast("Connection", protocol).receive(receiver)
    if began:
        receiver.buffer_updated(len(began))


class _Receiver(asyncio.BufferedProtocol):
    """Stands in for a connection until the last byte of a body has come."""

    def __init__(self, protocol: RequestHandler, content: StreamReader) -> None:
        self._protocol = protocol
        self._connection = cast("Connection", protocol)
        self._content = content
        self._size = _SMALLEST

    def _pass_on(self, piece: memoryview) -> None:
        # The reader only asks for the length.
        self._content.feed_data(bytes(piece) if len(piece) <= _SMALL else cast("bytes", piece))

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


class _SizedReceiver(_Receiver):
    """Receives a body of which ``left`` bytes are to come."""

    def __init__(self, protocol: RequestHandler, content: StreamReader, left: int) -> None:
        super().__init__(protocol, content)
        self._left = left
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
        self._pass_on(piece)
        if not self._left:
            self._connection.received(self._content)


class _ChunkedReceiver(_Receiver):
    """Receives a chunked body, and moves its content together in the block it came in."""

    def __init__(self, protocol: RequestHandler, content: StreamReader, began: bytes) -> None:
        super().__init__(protocol, content)
        self._decoder = ChunkedDecoder()
        self._block = bytearray(began)
        self._view = memoryview(self._block)
        self._at = 0  # what is before it was passed on, and is changed no more
        self._stop = 0  # what is behind it did not come yet
        self._found: Iterator[tuple[int, int]] = iter(())
        self._held = False
        self._over = False  # nothing that still comes is looked at

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002  the kernel has more than that
        """Room for what comes next; what comes behind the body is given back."""
        if self._held:  # it would be written over: better no connection than another content
            raise RuntimeError("a transport that was paused goes on reading")
        if len(self._block) - self._at < _ROOM:
            self._block = bytearray(self._size)
            self._view = memoryview(self._block)
            self._at = 0
        return self._view[self._at :]

    def buffer_updated(self, nbytes: int) -> None:
        """Pass on the content of what came; larger blocks for who fills them at once."""
        if self._over:
            return
        if nbytes == self._size:
            self._size = min(2 * self._size, _LARGEST)
        self._stop = self._at + nbytes
        self._found = self._decoder.feed(self._block, self._at, self._stop)
        self._decode()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Forget what is not decoded yet: a client that cuts so small sends it again."""
        self._over = True
        super().connection_lost(exc)

    def _decode(self) -> None:
        """Pass on the content of some chunks. The others of a block come in another turn."""
        if self._over:
            return
        begin = at = self._at
        view, pieces, reason = self._view, 0, None
        try:
            for start, end in self._found:
                to = at + end - start
                if at != start:
                    view[at:to] = view[start:end]
                at = to
                pieces += 1
                if pieces == _PIECES:
                    break
        except MalformedError as error:
            reason = str(error)
        self._at = at
        if at > begin:
            self._pass_on(view[begin:at])
        if pieces == _PIECES:
            self._held = True
            self._connection.hold()
            asyncio.get_running_loop().call_soon(self._decode)
        else:
            self._decoded(reason)

    def _decoded(self, reason: str | None) -> None:
        """What came is decoded; or for that ``reason`` it is no chunked body."""
        if self._held:
            self._held = False
            self._connection.go_on()
        if reason is not None:
            self._over = True
            self._connection.broken(self._content, reason)
        elif self._decoder.end is not None:
            self._over = True
            behind = bytes(self._view[self._decoder.end : self._stop])
            self._connection.received(self._content, behind)
