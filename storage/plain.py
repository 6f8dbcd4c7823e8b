"""A directory that something else wrote, read only: the paths of its files are the keys."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from stat import S_ISREG
from typing import final

from storage._content import FileReader
from storage._files import read_all, reading
from storage._layout import StoreRefused
from storage._listing import Listings
from storage._root import Directory
from storage._threads import Threads
from storage.ports import MAX_VALUE, ContentReader, NotFound, OpenFile, Unavailable, Value


@final
class PlainDirectory:
    """Reads files below a directory. No symbolic link is followed below it.

    Of the ports it has ``get`` and ``open``, and it has ``directories`` as ``S3Store``, with any
    names that there are. The version of a value is empty. Nothing is ever written there.
    """

    def __init__(self, root: Path, *, threads: int = 8) -> None:
        """Open ``root``; ``StoreRefused`` where it is no directory that can be read."""
        try:
            fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise StoreRefused(str(root), f"it can't be read: {error.strerror}") from error
        self._root = Directory(fd)
        self._listings = Listings(self._root, counts_links=False)
        self._threads = Threads(threads, "plain-read")

    def close(self) -> None:
        """Close all files, when nothing uses it any more."""
        if self._threads.close():
            self._root.close()

    async def get(self, key: str) -> Value:
        """As ``ObjectStore.get``."""
        return await self._threads.run(self._get, key)

    async def directories(self, prefix: str) -> AsyncIterator[str]:
        """Yield the names of directories in ``prefix``, in byte order; not of those without files.

        ``prefix`` ends with ``/``.
        """
        for name in await self._threads.run(self._listings.directories, prefix):
            yield name

    @asynccontextmanager
    async def open(
        self, key: str, start: int = 0, end: int | None = None
    ) -> AsyncIterator[ContentReader]:
        """As ``ContentStore.open``."""
        async with self.open_file(key) as file:
            last = file.size if end is None else end
            if not start <= last <= file.size:
                raise Unavailable(key, f"it has {file.size} bytes, not {max(start, last)}")
            yield FileReader(self._threads, key, file.fd, (file.size, start, last))

    @asynccontextmanager
    async def open_file(self, key: str) -> AsyncIterator[OpenFile]:
        """As ``FileContent.open_file``."""
        fd, size = await self._threads.run(self._open, key, undo=_close)
        try:
            yield OpenFile(fd, size)
        finally:
            os.close(fd)

    def _get(self, key: str) -> Value:
        fd, size = self._open(key)
        try:
            if size > MAX_VALUE:
                raise Unavailable(key, f"it has {size} bytes, too many for a value")
            with reading(key):
                return Value(read_all(fd, size), "")
        finally:
            os.close(fd)

    def _open(self, key: str) -> tuple[int, int]:
        with reading(key):
            fd = self._root.open(key, os.O_RDONLY)
            status = os.fstat(fd)
        if S_ISREG(status.st_mode):
            return fd, status.st_size
        os.close(fd)
        raise NotFound(key)


def _close(opened: tuple[int, int]) -> None:
    os.close(opened[0])
