"""Finished content that a writer meets: what is written again is compared with it."""

from collections.abc import AsyncIterator
from typing import Self, final

from storage._s3_bucket import Bucket
from storage._s3_reader import S3Reader
from storage._s3_wire import Piece
from storage.ports import AlreadyExists, NotFound, Unavailable


@final
class Standing:
    """The finished content of a key, compared piece by piece from a place on."""

    def __init__(self, bucket: Bucket, key: str, size: int, start: int) -> None:
        self.size = size
        self._key = key
        self._position = start
        self._reader = S3Reader(bucket, key, start, None)
        self._pieces: AsyncIterator[bytes] | None = None
        self._left = b""

    @classmethod
    async def find(cls, bucket: Bucket, key: str, start: int) -> Self | None:
        """Return it, or ``None`` if there is none."""
        try:
            stat = (await bucket.head(key)).stat
        except NotFound:
            return None
        return cls(bucket, key, stat.size, start)

    async def compare(self, data: Piece) -> None:
        """Raise ``AlreadyExists`` unless the content goes on with ``data``."""
        if self._position + len(data) > self.size:
            raise AlreadyExists(self._key)
        if self._pieces is None:
            await self._reader.begin()
            self._pieces = aiter(self._reader)
        with memoryview(data) as view:
            start = 0
            while start < len(view):
                self._left = self._left or await self._next()
                size = min(len(self._left), len(view) - start)
                if self._left[:size] != view[start : start + size]:
                    raise AlreadyExists(self._key)
                self._left = self._left[size:]
                start += size
        self._position += len(data)

    async def close(self) -> None:
        """Let go of the connection."""
        await self._reader.close()

    async def _next(self) -> bytes:
        assert self._pieces is not None  # noqa: S101  compare() saw to it
        piece = await anext(self._pieces, b"")
        if not piece:
            raise Unavailable(self._key, "it ended early")
        return piece
