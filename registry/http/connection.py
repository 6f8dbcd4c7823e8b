"""One connection, with bounds on what a client may hold of it.

aiohttp parses and writes HTTP. What is added here: a request head must come whole within a time
and a size, a chunked body passes by the parser, and what can't be parsed is answered in the API's
JSON and never repeated in a log.
"""

import asyncio
import logging
import time
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Final, cast

from aiohttp import StreamReader
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong, TransferEncodingError
from aiohttp.http_parser import HttpRequestParser, RawRequestMessage
from aiohttp.web import BaseRequest, RequestHandler, RequestPayloadError, StreamResponse

from registry.config import ServerConfig
from registry.http.answer import Answer
from registry.http.observe import RequestRecord
from registry.http.receive import begins_chunked_body, receive_chunks
from registry.spec.errors import (
    HeaderTooLarge,
    Internal,
    RegistryError,
    RequestTimeout,
    Unavailable,
    Unsupported,
    encode,
)

if TYPE_CHECKING:
    from registry.http.connections import Connections

_log = logging.getLogger("moorage.listener")

REQUEST_LINE_BYTES: Final = 16_384
"""Longest request line: room for a PUT that sets a hundred tags."""

READ_BUFFER: Final = 256 * 1024
"""Bytes of a body that may wait to be read."""

_HEAD_END: Final = b"\r\n\r\n"


def _raw(error: RegistryError) -> bytes:
    """Build an answer for a connection that no request handler has."""
    body = encode(error)
    lines = [
        f"HTTP/1.1 {error.status} Error",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        "Connection: close",
        *(f"{name}: {value}" for name, value in error.lines()),
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def parsing(config: ServerConfig) -> dict[str, Any]:
    """How every parser of a connection reads."""
    return {
        "auto_decompress": False,  # a blob's digest is that of the bytes as they were sent
        "max_line_size": REQUEST_LINE_BYTES,
        "max_field_size": config.header_bytes,
    }


class Connection(RequestHandler):
    """One of ``Connections``.

    It uses attributes of its base that aiohttp does not promise (``_waiter``, which is pending
    exactly while the connection waits for a request head, ``_messages``, those that wait to be
    answered, ``_request_count``, ``_request_in_progress`` and ``_reading_paused``); a test of each
    behaviour guards them against a new aiohttp.
    """

    __slots__ = ("_answered", "_broken", "_head_bytes", "_head_timer", "_held", "_last", "_web")

    def __init__(self, web: "Connections", **options: Any) -> None:
        super().__init__(web, **options)
        self._web = web
        self._head_bytes = 0
        self._head_timer: asyncio.TimerHandle | None = None
        self._answered: StreamReader | None = None
        self._last = False  # whether no request may follow the running one
        self._broken: StreamReader | None = None  # a body of which no end will be found
        self._held = False  # whether nothing is read though there may be room for it

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Serve it, unless there are too many; its first head must come in time."""
        web = self._web
        if web.full:
            web.observer.connection_closed("limit")
            self._manager = None  # the base must not take it for one of its own
            self._force_close = True
            cast("asyncio.Transport", transport).write(_raw(Unavailable(1)))
            transport.close()
            return
        super().connection_made(transport)
        self._await_head()

    def _await_head(self) -> None:
        self._head_timer = self._loop.call_later(self._web.config.head_seconds, self._head_late)

    @property
    def waiting(self) -> bool:
        """Whether it waits for a request head."""
        return self._waiter is not None and not self._waiter.done()

    def data_received(self, data: bytes) -> None:
        """Parse; start the clock when a head comes in part, stop it when it is whole."""
        if self._messages:
            super().data_received(data)
        else:
            self._take_head(data)
        if self._request_in_progress and self._messages:
            self._tell_of_broken_body()
        # The first bytes may come before the connection's task begins to wait (on uvloop).
        if not self.waiting and self._request_count:
            if self._head_timer is not None:
                self._head_timer.cancel()
                self._head_timer = None
                self._head_bytes = 0
        elif data:
            self._head_bytes += len(data)
            if self._head_timer is None:
                self._await_head()
            if self._head_bytes > self._web.config.header_bytes + REQUEST_LINE_BYTES:
                self._refuse(HeaderTooLarge(), "malformed")

    def _take_head(self, data: bytes) -> None:
        """Parse a head and what is behind it, but for a chunked body: that is never parsed."""
        head, end, behind = data.partition(_HEAD_END)
        before = self._request_count
        super().data_received(head + end if behind else data)
        if not end:
            return
        if self._request_count == before + 1 and begins_chunked_body(*self._messages[-1]):
            receive_chunks(self, self._messages[-1][1], behind)
        elif behind:
            super().data_received(behind)

    def receive(self, receiver: asyncio.BufferedProtocol) -> None:
        """Let ``receiver`` have what the client sends from now on: the rest of a body."""
        if self.transport is not None:
            self.transport.set_protocol(receiver)

    def received(self, content: StreamReader, behind: bytes = b"") -> None:
        """Have it again, with another parser: the one that there was still waits for the body.

        ``behind`` is what the client sent with the last of it: the beginning of another request.
        """
        self._parser = HttpRequestParser(
            self,
            self._loop,
            READ_BUFFER,
            payload_exception=RequestPayloadError,
            max_msg_queue_size=self._max_msg_queue_size,
            **parsing(self._web.config),
        )
        if self.transport is not None:
            self.transport.set_protocol(self)
        content.feed_eof()
        if behind:
            self.data_received(behind)

    def hold(self) -> None:
        """Take nothing from the client before ``go_on``, whoever asks for it."""
        self._held = True
        self._pause_transport_reading()

    def go_on(self) -> None:
        """Take what comes again, unless a body is full (``pause_reading``)."""
        self._held = False
        if not self._reading_paused:
            self._resume_transport_reading()

    def resume_reading(self, resume_parser: bool = True) -> None:  # noqa: FBT001, FBT002  aiohttp's
        """There is room in a body."""
        if self._held:
            self._reading_paused = False
        else:
            super().resume_reading(resume_parser)

    def broken(self, content: StreamReader, reason: str) -> None:
        """Let the request fail whose body can't be read any further, and take no other."""
        self._broken = content
        self._lingering_time = 0.0
        content.set_exception(TransferEncodingError(reason))

    def is_last(self, content: StreamReader) -> bool:
        """Whether no request may follow the one with this body."""
        return self._last or content is self._broken

    def _tell_of_broken_body(self) -> None:
        """Let the running request fail at once where its body can't be parsed any further.

        aiohttp only queues the error, for when the request that waits for the body has ended.
        """
        message, _ = self._messages[-1]
        request = self._current_request
        if isinstance(message, RawRequestMessage) or request is None or request.content.is_eof():
            return
        self._messages.pop()
        self.broken(request.content, "the body is cut up wrongly")

    def finish_response(
        self, request: BaseRequest, resp: StreamResponse, start_time: float | None
    ) -> Coroutine[Any, Any, tuple[StreamResponse, bool]]:
        """Write the answer; don't wait for the rest of a body that was too slow in coming."""
        if resp.status == RequestTimeout.status:
            self._last = True
            self._lingering_time = 0.0
        self._answered = request.content
        return super().finish_response(request, resp, start_time)

    def _head_late(self) -> None:
        self._head_timer = None
        if self.waiting:
            self._refuse(RequestTimeout() if self._head_bytes else None, "head_timeout")

    def _refuse(self, error: RegistryError | None, reason: str) -> None:
        self._web.observer.connection_closed(reason)
        if error is not None and self.transport is not None:
            self.transport.write(_raw(error))
        self.force_close()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Forget the clock."""
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
        if self._answered is not None:
            # aiohttp waits for the rest of a body that was not read, though nobody sends it now.
            self._answered.feed_eof()
        super().connection_lost(exc)

    def close_idle(self) -> None:
        """Close it if it waits for a request.

        The base's ``close`` is no help here: from then on it drops what still comes of a body.
        """
        if self.waiting and not self._messages:
            self.force_close()

    def handle_error(
        self,
        request: BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002  aiohttp's text: it repeats what the client sent
    ) -> StreamResponse:
        """Answer what never reached the endpoint, or what it let fall, in the API's JSON."""
        if request.writer.output_size > 0 or isinstance(exc, ConnectionError):
            raise ConnectionResetError("there is nobody, or no way, to tell") from exc
        if isinstance(exc, LineTooLong):
            error: RegistryError = HeaderTooLarge()
        elif isinstance(exc, HttpProcessingError):
            error = Unsupported(f"this is no HTTP request ({type(exc).__name__})")
        else:
            _log.error("a request failed outside the endpoint", exc_info=exc)
            error = Internal("none")
        if status < 500:
            _log.debug("refused a malformed request: %s", type(exc).__name__)
            self._web.observer.connection_closed("malformed")
            self._account(request, error)
        answer = Answer(
            error.status,
            (("Content-Type", "application/json"), *error.lines()),
            encode(error),
        )
        answer.force_close()
        self.close()
        return answer

    def _account(self, request: BaseRequest, error: RegistryError) -> None:
        self._web.observer.started()
        self._web.observer.finished(
            RequestRecord(
                time=time.time(), remote=request.remote or "", status=error.status, code=error.code
            )
        )
