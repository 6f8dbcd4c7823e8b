"""An object store on a local file system, for any number of processes of one machine.

::

    moorage.json     the layout's version
    objects/<key>    every object, one file each
    partial/<key>    unfinished content, with "~" for "/"
    tmp/             values that are being written
    lock             bytes of it are locked (never read or written)
"""
# ruff: noqa: D102 - what each method does is said once, in the port

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import final

from storage import _content
from storage._content import FileReader, FileWriter
from storage._disk import Disk
from storage._files import reading
from storage._grammar import (
    check_items,
    check_key,
    check_prefix,
    check_range,
    check_value,
    parse_progress,
)
from storage._layout import StoreRefused
from storage._listing import Listings
from storage._threads import Threads
from storage.ports import (
    ContentReader,
    ContentStore,
    ContentWriter,
    FileContent,
    Items,
    OpenFile,
    Stat,
    Unavailable,
    Value,
)

__all__ = ["FileStore", "StoreRefused"]


CHECKPOINT = 256 * 1024 * 1024
"""Bytes after which a sync of an upload is worth its price; the upload stands still meanwhile."""


VALUE = 64 * 1024
"""Bytes that are quicker written twice, and read once, than a file is made for them and synced."""


@final
class FileStore:
    """A ``ContentStore`` with ``FileContent`` over the directory ``root``.

    All disk work is done in up to ``threads`` threads, half of them for reading, so that reads do
    not queue behind writes that wait for the disk; each method is one hop. Any number of processes
    may use one directory, each with a ``FileStore`` that it made itself (not inherited by fork).
    The file system must be local: hard links, ``rename`` and locks are relied upon. The lease of
    a content's writer must last as long as its process, as ``HostCoordinator``'s does: two writers
    of one unfinished content would write into one file.
    """

    def __init__(self, root: Path, *, threads: int = 16) -> None:
        """Open ``root``, made if it is missing. ``StoreRefused`` if it is something else's."""
        self._disk = Disk(root)
        self._listings = Listings(self._disk.objects, counts_links=self._disk.ordered)
        self._reading = Threads(max(threads // 2, 1), "disk-read")
        self._writing = Threads(max(threads - threads // 2, 1), "disk-write")
        self._writing.post(self._disk.sweep)

    def close(self) -> None:
        """End the threads, after what is under way (for up to 10 seconds), and close all files.

        Blocks; to be called when nothing uses the store any more.
        """
        if self._reading.close() and self._writing.close():
            self._disk.close()

    @property
    def value_bytes(self) -> int:
        return VALUE

    @property
    def checkpoint_bytes(self) -> int:
        return CHECKPOINT

    async def get(self, key: str) -> Value:
        check_key(key)
        return await self._reading.run(self._disk.get, key)

    async def stat(self, key: str) -> Stat:
        check_key(key)
        return await self._reading.run(self._disk.stat, key)

    async def put(self, key: str, data: bytes, *, durable: bool = True) -> str:
        check_key(key)
        check_value(key, data)
        return await self._writing.run(partial(self._disk.put, durable=durable), key, data)

    async def put_all(self, *steps: Items, settled: bool = True) -> None:
        check_items(*steps)
        items = [item for step in steps for item in step]
        await self._writing.run(partial(self._disk.put_all, settled=settled), items)

    async def create(
        self,
        key: str,
        data: bytes,
        *,
        beside: Items = (),
        then: Items = (),
        durable: bool = True,
        settled: bool = True,
    ) -> str:
        check_items([(key, data)], beside, then)
        create = partial(
            self._disk.create, beside=beside, then=then, durable=durable, settled=settled
        )
        return await self._writing.run(create, key, data)

    async def replace(self, key: str, data: bytes, version: str, *, durable: bool = True) -> str:
        check_key(key)
        check_value(key, data)
        replace = partial(self._disk.replace, durable=durable)
        return await self._writing.run(replace, key, data, version)

    async def delete(self, key: str, *, version: str | None = None, durable: bool = True) -> bool:
        check_key(key)
        delete = partial(self._disk.delete, version=version, durable=durable)
        return await self._writing.run(delete, key)

    async def list(self, prefix: str, *, after: str = "", limit: int = 1000) -> Sequence[str]:
        check_prefix(prefix)
        return await self._reading.run(self._list, prefix, after, limit)

    @asynccontextmanager
    async def append(self, key: str, progress: str) -> AsyncIterator[ContentWriter]:
        check_key(key)
        offset = parse_progress(key, progress)
        writer = FileWriter(self._disk, self._writing, key, offset)
        try:
            if offset:
                await writer.resume()
            yield writer
        finally:
            await writer.close()

    async def abandon(self, key: str, progress: str) -> None:  # noqa: ARG002 - files need none
        check_key(key)
        await self._writing.run(_content.abandon, self._disk, key)

    async def sweep(self, older: float) -> int:
        return await self._writing.run(_content.sweep, self._disk, older)

    async def take(self, key: str, source: int) -> bool:
        """Make a file that is open for reading content at ``key``, with no byte copied.

        It gets a second name, and the mode of content; as after ``finish(settled=False)``, that is
        durable with the next durable write. ``False``, and nothing was done, where it is on another
        file system, has too many names, or belongs to another user.
        """
        check_key(key)
        return await self._writing.run(_content.take, self._disk, key, source)

    @asynccontextmanager
    async def open(
        self, key: str, start: int = 0, end: int | None = None
    ) -> AsyncIterator[ContentReader]:
        check_range(key, start, end)
        async with self.open_file(key) as file:
            last = file.size if end is None else end
            if not start <= last <= file.size:
                raise Unavailable(key, f"it has {file.size} bytes, not {max(start, last)}")
            yield FileReader(self._reading, key, file.fd, (file.size, start, last))

    @asynccontextmanager
    async def open_file(self, key: str) -> AsyncIterator[OpenFile]:
        check_key(key)
        opened = await self._reading.run(_content.open_content, self._disk, key, undo=_close)
        fd, size = opened
        try:
            yield OpenFile(fd, size)
        finally:
            os.close(fd)

    def _list(self, prefix: str, after: str, limit: int) -> Sequence[str]:
        with reading(prefix):
            return self._listings.keys(prefix, after, limit)


def _close(opened: tuple[int, int]) -> None:
    os.close(opened[0])


_contents: type[ContentStore] = FileStore
_files: type[FileContent] = FileStore
