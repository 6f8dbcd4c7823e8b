"""Answers: a head and a body in one write, and heads of bodies that are streamed.

aiohttp's own ``Response`` builds its head from a multidict for each request; with the few, known
headers of a registry that is half the cost of a small answer. These stay within aiohttp's public
interface (``AbstractStreamWriter.write``), and take over what ``Response`` would have done:
``Date``, ``Connection``, no body for HEAD, no line break in a header.
"""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from email.utils import formatdate
from http import HTTPStatus
from time import time
from typing import Final

from aiohttp import hdrs
from aiohttp.abc import AbstractStreamWriter
from aiohttp.web import BaseRequest, StreamResponse

from registry.spec.pagination import link
from registry.spec.requests import Request, url_for

Headers = Iterable[tuple[str, str]]

_ALWAYS = (
    "Docker-Distribution-Api-Version: registry/2.0\r\n"
    # What is kept here is what its Content-Type says, whatever a browser makes of the bytes.
    "X-Content-Type-Options: nosniff\r\n"
)
_HEADS = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n{_ALWAYS}" for status in HTTPStatus
}
_date: tuple[int, str] = (0, "")

BESIDE: Final = "moorage.beside"
"""Under this a request has header lines that go with its answer, whatever that is."""


class Answer(StreamResponse):
    """A whole answer. ``length`` is the body's, where none is sent (HEAD, 304)."""

    def __init__(
        self, status: int, headers: Headers = (), body: bytes = b"", *, length: int | None = None
    ) -> None:
        super().__init__(status=status)
        self.body = body
        self._lines = headers
        self.told: Mapping[str, object] = {}
        """What the audit log is told of it, beside what the request says."""

        self.names: Sequence[str] = ()
        """Digests of what else it was about, for its trace."""

        self._size = len(body) if length is None else length

    def header(self, name: str) -> str:
        """The value of a header as it is written here, ``""`` if there is none."""
        return next((value for each, value in self._lines if each == name), "")

    async def prepare(self, request: BaseRequest) -> AbstractStreamWriter:
        """Write the whole answer; a closed connection raises ``ConnectionError``."""
        writer = request.writer
        head = self.head(request)
        if request.method == hdrs.METH_HEAD:
            await writer.write(head)
        else:
            await writer.write(head + self.body)
        return writer

    async def write_eof(self, data: bytes = b"") -> None:
        """Nothing is left to write."""

    def sent(self, request: BaseRequest) -> int:
        """The bytes of the body that go to this client."""
        return 0 if request.method == hdrs.METH_HEAD else len(self.body)

    def head(self, request: BaseRequest) -> bytes:
        """The status line and headers, with what the connection needs to be told."""
        lines = [_HEADS[self.status]]
        for name, value in self._lines:
            if not (value.isascii() and value.isprintable()):
                raise ValueError(f"the value of the header {name} can't be sent")
            lines += (name, ": ", value, "\r\n")
        if len(request):  # asked for what it does not have, it raises and catches
            for name, value in request.get(BESIDE, ()):
                lines += (name, ": ", value, "\r\n")
        if self.status not in (204, 304):
            lines.append(f"Content-Length: {self._size}\r\n")
        if not request.keep_alive:
            self.force_close()
            lines.append("Connection: close\r\n")
        else:
            self._keep_alive = True
            if request.version.minor == 0:
                lines.append("Connection: keep-alive\r\n")
        lines.append(_date_line())
        return "".join(lines).encode("ascii")


class Streamed(Answer):
    """An answer whose body the handler writes, inside ``begun``."""

    def __init__(self, status: int, headers: Headers, length: int) -> None:
        super().__init__(status, headers, length=length)

    @asynccontextmanager
    async def begun(self, request: BaseRequest) -> AsyncIterator[None]:
        """Write the head, and let the body be written.

        What fails from then on can't be told by a status any more: the connection is broken, so
        that the client doesn't take a part for the whole.
        """
        await request.writer.write(self.head(request))
        try:
            yield
        except BaseException as error:
            if request.transport is not None:
                request.transport.abort()
            if isinstance(error, Exception):
                raise ConnectionResetError(f"the answer was cut short: {error!r}") from error
            raise

    async def prepare(self, request: BaseRequest) -> AbstractStreamWriter:
        """Nothing is left to write."""
        return request.writer

    def sent(self, request: BaseRequest) -> int:  # noqa: ARG002 -- it is only used for GET
        """The bytes of the body."""
        return self._size


def next_page(request: Request) -> tuple[str, str]:
    """The header that leads to the next page of a listing (RFC 8288), relative to the host."""
    return "Link", link(url_for(request))


def _date_line() -> str:
    global _date  # noqa: PLW0603 -- one string a second, whoever asks
    now = int(time())
    if _date[0] != now:
        _date = (now, f"Date: {formatdate(now, usegmt=True)}\r\n\r\n")
    return _date[1]
