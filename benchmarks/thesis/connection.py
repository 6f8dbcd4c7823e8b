"""A connection of the load's event loop: many at a time, and large answers are only counted."""

import asyncio
from typing import cast

from benchmarks.wire import Answer, AnswerError, Endpoint, parse_head

_BUFFER = 256 << 10
_KEPT = 64 << 10  # bodies up to this length are kept: manifests and errors


class Connection(asyncio.BufferedProtocol):
    """One keep-alive connection, one request at a time.

    An answer that has no Content-Length, or ends before its length, is an AnswerError.
    """

    def __init__(self) -> None:
        self._view = memoryview(bytearray(_BUFFER))
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[Answer] | None = None
        self._head = b""
        self._body = bytearray()
        self._parsed: tuple[int, dict[str, str]] | None = None
        self._left = 0
        self._head_only = False

    @classmethod
    async def to(cls, endpoint: Endpoint) -> "Connection":
        """A connected one; OSError when nothing listens."""
        loop = asyncio.get_running_loop()
        _, protocol = await loop.create_connection(cls, endpoint.host, endpoint.port)
        return protocol

    async def ask(self, request: bytes) -> Answer:
        """Send a whole request and give its answer, of whose body the first 64 KiB are kept."""
        transport = self._transport
        if transport is None or transport.is_closing():
            raise AnswerError("the connection was closed between two requests")
        self._answer = asyncio.get_running_loop().create_future()
        self._head, self._parsed, self._head_only = b"", None, request.startswith(b"HEAD ")
        transport.write(request)
        return await self._answer

    def close(self) -> None:
        """Close it at once."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(f"the connection was closed: {exc}")

    def eof_received(self) -> None:
        self._fail("the connection was closed by the server")

    def get_buffer(self, _sizehint: int) -> memoryview:
        return self._view

    def buffer_updated(self, nbytes: int) -> None:
        if self._parsed is not None:
            self._take(self._view[:nbytes])
            return
        self._head += self._view[:nbytes]
        end = self._head.find(b"\r\n\r\n")
        if end < 0:
            return
        status, headers = self._parsed = parse_head(self._head[:end])
        bodyless = self._head_only or status in {204, 304}
        if not bodyless and "content-length" not in headers:
            self._fail(f"status {status} without Content-Length")
            return
        self._left = 0 if bodyless else int(headers["content-length"])
        self._body.clear()
        self._take(memoryview(self._head)[end + 4 :])

    def _take(self, piece: memoryview) -> None:
        self._left -= len(piece)
        self._body += piece[: _KEPT - len(self._body)]
        if self._left > 0 or self._parsed is None:
            return
        if self._left < 0:
            self._fail("more bytes than Content-Length said")
        elif self._answer is not None and not self._answer.done():
            status, headers = self._parsed
            self._answer.set_result(Answer(status, headers, bytes(self._body)))

    def _fail(self, why: str) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(AnswerError(why))
