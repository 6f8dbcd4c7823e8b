"""The chunked transfer coding (RFC 9112 §7.1), read strictly and without I/O.

Where two readers of one connection do not agree on where a body ends, the rest of it is a request
to one of them (RFC 9112 §11.2). So there is one spelling of everything here, and what is spelled
otherwise is refused: no bare LF, no white space around a size, no ``0x``, no sign.
"""

import re
from collections.abc import Iterator
from typing import Final

SIZE_LINE: Final = 1024
"""Bytes of the longest line with a chunk's size: extensions, which nobody uses, are passed over."""

TRAILERS: Final = 2048
"""Bytes of the longest trailer section: it is passed over, too."""

FIELDS: Final = 32
"""Fields of a trailer section."""

_TOKEN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_QUOTED: Final = rb'"(?:[\t !#-\[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*"'
_SIZE: Final = rb"([0-9A-Fa-f]{1,16})(?:;%b(?:=(?:%b|%b))?)*\r\n" % (_TOKEN, _TOKEN, _QUOTED)
_FIRST: Final = re.compile(_SIZE)
_NEXT: Final = re.compile(rb"\r\n" + _SIZE)
_TRAILER: Final = re.compile(rb"(?:(%b):[\t -~\x80-\xff]*)?\r\n" % _TOKEN)

_ENDINGS: Final = (
    b"\r\n", b"\n", b"0\r\n", b"\n0\r\n", b'"\r\n', b'0"\r\n', b":\r\n"
)  # fmt: skip
"""What may be missing of a line of framing, whatever was cut off: one of these, if it is one."""

_NEVER_TRAILERS: Final = frozenset(
    b"authorization cache-control connection content-encoding content-length content-location"
    b" content-range content-type cookie etag expect host max-forwards range server te trailer"
    b" transfer-encoding upgrade user-agent".split()
)
"""Fields that say how a message is framed, routed or read: RFC 9110 §6.5.1 bans them there."""


class MalformedError(ValueError):
    """What came is no chunked body; how the bytes that follow are to be read is not known."""


class ChunkedDecoder:
    """Finds the content in one body, as it comes in pieces of any size.

    How the body is cut into pieces changes nothing of what is found and what is refused.
    """

    def __init__(self) -> None:
        self.end: int | None = None
        """Where in the last piece the first byte behind the body is; ``None`` before its end."""
        self._left = 0  # bytes that are to come of a chunk
        self._line = b""  # what came of the line that follows on them
        self._grammar = _FIRST  # of that line
        self._most = SIZE_LINE  # bytes of it
        self._fields = 0

    def feed(self, data: bytes | bytearray, at: int, stop: int) -> Iterator[tuple[int, int]]:
        """Yield where content begins and ends in ``data[at:stop]``, which follows on the last one.

        ``MalformedError`` at the first byte that does not belong to a chunked body; the content
        before it was yielded. Neither after that nor after the body's end is it called again.
        """
        while at < stop and self.end is None:
            if left := self._left:
                end = at + left if left < stop - at else stop
                self._left = left - (end - at)
                yield at, end
                at = end
            elif self._line:
                at = self._join(data, at, stop)
            elif found := self._grammar.match(data, at, min(stop, at + self._most)):
                at = found.end()
                self._take(found, at)
            else:
                self._keep(data[at : min(stop, at + self._most)], stop - at)
                return

    def _take(self, line: re.Match[bytes], end: int) -> None:
        """Know what a line of framing says, which ends there."""
        if self._grammar is not _TRAILER:
            self._left = int(line[1], 16)
            self._grammar = _NEXT
            if not self._left:
                self._grammar, self._most = _TRAILER, TRAILERS
        elif line[1] is None:
            self.end = end
        else:
            self._most -= len(line[0])
            self._fields += 1
            if self._fields > FIELDS:
                raise MalformedError("it has too many trailers")
            if line[1].lower() in _NEVER_TRAILERS:
                raise MalformedError("a field in its trailers must come before the body")

    def _join(self, data: bytes | bytearray, at: int, stop: int) -> int:
        """Take a line that came in pieces, and return where it ends in the last one."""
        came = len(self._line)
        line = self._line + data[at : min(stop, at + self._most - came)]
        found = self._grammar.match(line)
        if found is None:
            self._keep(line, came + stop - at)
            return stop
        self._line = b""
        end = at + found.end() - came
        self._take(found, end)
        return end

    def _keep(self, line: bytes | bytearray, came: int) -> None:
        """Keep the beginning of a line, if it is one; so many bytes of it came."""
        if not any(self._grammar.fullmatch(line + ending) for ending in _ENDINGS):
            raise MalformedError(_WRONG[self._grammar])
        if came >= self._most:
            raise MalformedError("a line of its framing is too long")
        self._line = bytes(line)


_WRONG: Final = {
    _FIRST: "the size of a chunk is no hexadecimal number of up to 16 digits",
    _NEXT: "a chunk is longer than its size, or the size of the next is no hexadecimal number",
    _TRAILER: "a trailer is no header field",
}
