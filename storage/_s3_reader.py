"""Reading an object in pieces, and going on where a connection broke."""

import asyncio
import logging
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Final, final

import aiohttp

from storage._s3_bucket import Bucket
from storage._s3_wire import pause_before
from storage._s3_xml import error_code
from storage._splice import AVAILABLE, send, splice
from storage.ports import NotFound, Unavailable

_log = logging.getLogger("moorage.storage")

_LEAST: Final = 4 * 1024 * 1024
"""Bytes for which a connection of their own is worth it."""

_TRIES: Final = 4
"""How often in a row a download may break, or fail to begin, without bringing a byte."""


@final
class S3Reader:
    """As the port's ``ContentReader``. ``begin`` before anything else, ``close`` at the end."""

    def __init__(self, bucket: Bucket, key: str, start: int, end: int | None) -> None:
        self._bucket = bucket
        self._key = key
        self._position = start
        self._wanted = end
        self._size = 0
        self._end = 0
        self._version = ""
        self._response: aiohttp.ClientResponse | None = None
        self._stack = AsyncExitStack()

    @property
    def size(self) -> int:
        """The size of the whole object in bytes."""
        return self._size

    async def begin(self) -> None:
        """Open the object. ``NotFound`` if there is none, ``Unavailable`` if it is too short."""
        if self._wanted is not None and self._position == self._wanted:
            stat = (await self._bucket.head(self._key)).stat
            self._size, self._end, self._version = stat.size, self._wanted, stat.version
        else:
            await self._connect()
            self._end = self._size if self._wanted is None else self._wanted
        if not self._position <= self._end <= self._size:
            await self.close()
            last = max(self._position, self._end)
            raise Unavailable(self._key, f"it has {self._size} bytes, not {last}")

    async def close(self) -> None:
        """Let go of the connection."""
        await self._stack.aclose()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the bytes of the range in the pieces that they come in: 256 KiB at most."""
        fruitless = 0
        while self._position < self._end:
            try:
                data = await self._read()
            except (aiohttp.ClientError, OSError) as error:
                fruitless += 1
                if fruitless >= _TRIES:
                    raise Unavailable(self._key, f"the download broke off: {error}") from error
                _log.debug("read %s goes on at %d: %s", self._key, self._position, error)
                await self.close()
                self._response = None
                continue
            fruitless = 0
            self._position += len(data)
            yield data

    async def relay(self, sink: int, idle_seconds: float) -> int:
        """As the port's ``relay``. Not over TLS, nor for little: it costs the connection."""
        left = self._end - self._position
        response = self._response
        if not AVAILABLE or response is None or left < _LEAST:
            return 0
        connection = response.connection
        if connection is None or connection.protocol is None or connection.transport is None:
            return 0  # all of it has come already
        plain = connection.transport.get_extra_info("ssl_object") is None
        if not plain or response.headers.get("Content-Length") != str(left):
            return 0
        if response.content.exception() is not None:
            return 0  # it broke off: who reads on asks for the rest
        try:
            source = os.dup(connection.transport.get_extra_info("socket").fileno())
        except OSError:
            return 0  # the process may open no more files
        begun = self._position
        # What has come is taken, and no more is read, in one step of the loop.
        try:
            head = response.content.read_nowait(-1)
            connection.protocol.pause_reading()
            await send(sink, head, idle_seconds)
            self._position += len(head)
            self._position += await splice(
                source,
                sink,
                left - len(head),
                source_seconds=self._bucket.wire.read_seconds,
                sink_seconds=idle_seconds,
            )
        finally:
            os.close(source)
            response.close()
            self._response = None
        return self._position - begun

    async def _read(self) -> bytes:
        if self._response is None:
            await self._connect()
        assert self._response is not None  # noqa: S101  _connect saw to it
        # As it came from the socket: joining pieces would copy each byte once more.
        data, _ = await self._response.content.readchunk()
        if not data:
            raise aiohttp.ClientPayloadError("it ended early")
        if self._position + len(data) > self._end:
            raise Unavailable(self._key, "the store sent more than was asked for")
        return data

    async def _connect(self) -> None:
        """Ask for what is left. The first time tells size and version, which then must stay."""
        for left in reversed(range(_TRIES)):
            try:
                await self._ask()
            except (aiohttp.ClientError, OSError) as error:
                await self.close()
                if not left:
                    raise Unavailable(self._key, f"the store does not answer: {error}") from error
                await asyncio.sleep(pause_before(_TRIES - left))
            else:
                return

    async def _ask(self) -> None:
        context = self._bucket.stream(self._key, self._position, self._wanted, self._version)
        response = await self._stack.enter_async_context(context)
        if response.status in (200, 206):
            self._take(response)
            return
        body = await response.read()
        if response.status == 416:
            self._size = (await self._bucket.head(self._key)).stat.size
            return
        if response.status == 404 and not self._version:
            raise NotFound(self._key)
        if response.status in (404, 412):
            raise Unavailable(self._key, "it was deleted or changed while it was read")
        code, message = error_code(body)
        if response.status >= 500 or response.status == 429:
            raise aiohttp.ClientPayloadError(f"{response.status} {code}")
        raise Unavailable(self._key, f"the store refused: {response.status} {code} {message}")

    def _take(self, response: aiohttp.ClientResponse) -> None:
        headers = response.headers
        if response.status == 206:
            size = int(headers["Content-Range"].rpartition("/")[2])
        elif self._position:
            raise Unavailable(self._key, "the store sends no ranges")
        else:
            size = int(headers["Content-Length"])
        self._size = size
        self._version = headers.get("ETag", "").strip('"')
        self._response = response
