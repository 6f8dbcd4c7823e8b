"""Chunked bodies for tests: written by any clients, read by two other readers."""

import asyncio
import re

from aiohttp.base_protocol import BaseProtocol
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.http_parser import HttpRequestParser

LAST = b"0\r\n\r\n"
HEAD = b"PATCH / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunk(data, extension=b""):
    """One chunk."""
    return b"%x%b\r\n%b\r\n" % (len(data), extension, data)


def chunked(data, size=32 * 1024):
    """A body in chunks of that size, as docker's client has them, with the last one."""
    return b"".join(chunk(data[at : at + size]) for at in range(0, len(data), size)) + LAST


def parser():
    """A parser of aiohttp's as the registry has them, on no connection."""
    return HttpRequestParser(
        BaseProtocol(_LOOP), _LOOP, 1 << 20, max_field_size=1 << 20, auto_decompress=False
    )


_LOOP = asyncio.new_event_loop()
_LOOP.close()


def by_llhttp(data):
    """What the other parser makes of a body: its content, and where it ends; ``None`` if nothing.

    Byte by byte, since it goes on with the next request in the same call.
    """
    reader = parser()
    ((_, content),), _, _ = reader.feed_data(HEAD)
    for at in range(len(data)):
        try:
            reader.feed_data(data[at : at + 1])
        except HttpProcessingError:
            return None
        if content.is_eof():
            return content.read_nowait(), at + 1
    return None


def by_hand(data):
    """The same, by RFC 9112 §7.1 without what is optional: no extensions, no trailers."""
    content, at = b"", 0
    while found := re.compile(rb"([0-9a-fA-F]{1,16})\r\n").match(data, at):
        size, at = int(found[1], 16), found.end()
        if data[at + size : at + size + 2] != b"\r\n":
            return None
        content, at = content + data[at : at + size], at + size + 2
        if not size:
            return content, at
    return None
