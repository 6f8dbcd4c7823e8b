"""Content as one file, which grows under ``partial/`` and is renamed to its place when whole."""

import errno
import os
from collections.abc import AsyncIterator
from contextlib import suppress
from hashlib import blake2b
from stat import S_ISREG
from time import time_ns
from typing import final

from storage._disk import NEW, Disk
from storage._files import CONTENT, VALUE, content_size, reading, write_all, writing
from storage._libc import begin_write_back
from storage._threads import Threads
from storage.ports import AlreadyExists, NotFound, Unavailable

SMALL = 64 * 1024
"""Content of up to so many bytes is kept in memory until it must be durable: one hop in all."""

PIECE = 256 * 1024
"""Bytes that a reader yields at a time."""

WRITE_BACK = 8 * 1024 * 1024
"""After so many bytes the kernel is told to begin writing them out, so that the sync at a
checkpoint or at the end finds little left to do: 1 GiB was synced in 0.01 s instead of 0.4 s."""

Data = bytes | bytearray | memoryview


def partial_name(key: str) -> str:
    """The name of the unfinished content of ``key``; ``~`` is in no key."""
    name = key.replace("/", "~")
    return name if len(name) <= 255 else "~" + blake2b(key.encode(), digest_size=20).hexdigest()


@final
class FileWriter:
    """As the port's ``ContentWriter``. Everything that starts with ``_`` but is no field blocks.

    Where the content is finished already it is not touched again: what is written is compared.
    """

    def __init__(self, disk: Disk, threads: Threads, key: str, offset: int) -> None:
        self._disk = disk
        self._threads = threads
        self._key = key
        self._name = partial_name(key)
        self._offset = offset
        self._buffer = bytearray()
        self._fd: int | None = None
        self._begun = offset
        self._synced = offset
        self._standing = False
        self._wrote = False
        self._finished: int | None = None

    @property
    def offset(self) -> int:
        """Bytes taken so far."""
        return self._offset

    async def resume(self) -> None:
        """Open what the progress tells of; ``NotFound`` if it is gone."""
        await self._threads.run(self._resume)

    async def write(self, data: Data) -> None:
        """As the port's ``write``."""
        if self._finished is not None:
            raise ValueError(f"{self._key}: it is finished")
        size = data.nbytes if isinstance(data, memoryview) else len(data)
        if size == 0:
            return
        if self._fd is None and len(self._buffer) + size <= SMALL:
            self._buffer += data
        else:
            await self._threads.run(self._write, data)
        self._offset += size
        self._wrote = True

    async def checkpoint(self) -> str:
        """As the port's ``checkpoint``."""
        if self._finished is not None:
            return str(self._finished)
        if self._offset == 0:
            return ""
        return await self._threads.run(self._checkpoint)

    async def finish(self, *, settled: bool = True) -> int:
        """As the port's ``finish``."""
        if self._finished is None:
            self._finished = await self._threads.run(self._finish, settled)
        return self._finished

    async def close(self) -> None:
        """Let go of the file. What was not made durable is dropped when the next writer comes."""
        if self._fd is not None:
            fd, self._fd = self._fd, None
            await self._threads.run(os.close, fd)

    # in a thread

    def _resume(self) -> None:
        with reading(self._key):
            try:
                self._fd = self._disk.objects.open(self._key, os.O_RDONLY)
                self._standing = True
                size = os.fstat(self._fd).st_size
            except FileNotFoundError:
                self._fd = self._reopen()
                size = os.fstat(self._fd).st_size
        if size < self._offset:
            raise NotFound(self._key)

    def _reopen(self) -> int:
        try:
            return self._disk.partial.open(self._name, os.O_WRONLY)
        except PermissionError:
            # its writer died while it finished: it has the mode of content already
            os.chmod(self._name, VALUE, dir_fd=self._disk.partial.fd)
            return self._disk.partial.open(self._name, os.O_WRONLY)

    def _start(self) -> int:
        """Open the file for the first bytes of new content, and write those that are kept."""
        if self._fd is not None:
            return self._fd
        try:
            fd = self._disk.objects.open(self._key, os.O_RDONLY)
            self._standing = True
        except (FileNotFoundError, NotADirectoryError):
            with suppress(FileNotFoundError):
                os.unlink(self._name, dir_fd=self._disk.partial.fd)
            fd = self._disk.partial.open(self._name, NEW, VALUE)
        try:
            self._put(fd, self._buffer, 0)
        except BaseException:
            os.close(fd)
            raise
        self._buffer = bytearray()
        self._fd = fd
        return fd

    def _write(self, data: Data) -> None:
        with writing(self._key):
            fd = self._start()
            self._put(fd, data, self._offset)

    def _put(self, fd: int, data: Data, offset: int) -> None:
        if not self._standing:
            write_all(fd, data, offset)
            self._write_back(fd, offset + memoryview(data).nbytes)
            return
        with memoryview(data) as whole, whole.cast("B") as view:
            for start in range(0, len(view), PIECE):
                size = min(PIECE, len(view) - start)
                if os.pread(fd, size, offset + start) != view[start : start + size]:
                    raise AlreadyExists(self._key)

    def _write_back(self, fd: int, end: int) -> None:
        """Have the kernel begin with what is not on its way to the disk yet; do not wait for it."""
        if end - self._begun >= WRITE_BACK:
            begin_write_back(fd, self._begun, end - self._begun)
            self._begun = end

    def _checkpoint(self) -> str:
        with writing(self._key):
            fd = self._start()
            if not self._standing:
                os.ftruncate(fd, self._offset)
                os.fdatasync(fd)
                if self._synced == 0 and not self._disk.ordered:
                    os.fsync(self._disk.partial.fd)
                self._synced = self._offset
        return str(self._offset)

    def _finish(self, settled: bool) -> int:  # noqa: FBT001 - a thread is given positions
        with writing(self._key):
            fd = self._start()
            if not self._standing:
                os.ftruncate(fd, self._offset)
                os.fchmod(fd, CONTENT)
                now = time_ns()
                os.utime(fd, ns=(now, now))
                if self._synced < self._offset or self._offset == 0 or not self._disk.ordered:
                    os.fsync(fd)
                self._disk.settle(self._key, self._name, self._disk.partial, None)
                self._standing = True
            if settled or not self._disk.ordered:
                # also where it stood already: who put it there may have died before this
                self._disk.sync(self._key.rpartition("/")[0])
            size = os.fstat(fd).st_size
            if self._wrote and size != self._offset:
                raise AlreadyExists(self._key)
            self._fd = None
            os.close(fd)
        return size


def abandon(disk: Disk, key: str) -> None:
    """Unlink the unfinished content of ``key``, if there is any."""
    with writing(key), suppress(FileNotFoundError):
        os.unlink(partial_name(key), dir_fd=disk.partial.fd)


def sweep(disk: Disk, older: float) -> int:
    """Unlink unfinished content that was not written to for so many seconds; return how many."""
    before, swept = time_ns() - int(older * 1e9), 0
    with writing("unfinished content"):
        for name in os.listdir(disk.partial.fd):  # noqa: PTH208 - a descriptor
            with suppress(FileNotFoundError):
                status = os.stat(name, dir_fd=disk.partial.fd, follow_symlinks=False)
                if status.st_mtime_ns <= before:
                    os.unlink(name, dir_fd=disk.partial.fd)
                    swept += 1
    return swept


def take(disk: Disk, key: str, source: int) -> bool:
    """Make the file that is open at ``source`` content at ``key``, by a second name of it.

    Its mode becomes that of content, and its time that of now: a full mark goes by how long bytes
    have been here. The name is durable with the next durable write, as after
    ``finish(settled=False)``. ``False`` where that can't be done: it is on another file system, or
    belongs to somebody else.
    """
    name = disk.fresh_name()
    with writing(key):
        try:
            os.link(f"/proc/self/fd/{source}", name, dst_dir_fd=disk.temporary.fd)
        except OSError as error:
            if error.errno in _NO_SECOND_NAME:
                return False
            raise
        try:
            os.chmod(name, CONTENT, dir_fd=disk.temporary.fd)
            now = time_ns()
            os.utime(source, ns=(now, now))
        except PermissionError:
            os.unlink(name, dir_fd=disk.temporary.fd)
            return False
        os.fsync(source)
        disk.settle(key, name, disk.temporary, None, commit=not disk.ordered)
    return True


_NO_SECOND_NAME = frozenset({errno.EXDEV, errno.EPERM, errno.EACCES, errno.EMLINK, errno.ENOENT})


@final
class FileReader:
    """As the port's ``ContentReader``, over an open file."""

    def __init__(self, threads: Threads, key: str, fd: int, bounds: tuple[int, int, int]) -> None:
        self._threads = threads
        self._key = key
        self._fd = fd
        self._size, self._start, self._end = bounds

    @property
    def size(self) -> int:
        """The size of the whole object in bytes."""
        return self._size

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the bytes of the range in pieces of at most ``PIECE``."""
        position = self._start
        while position < self._end:
            wanted = min(PIECE, self._end - position)
            data = await self._threads.run(self._read, wanted, position)
            position += len(data)
            yield data

    def _read(self, size: int, position: int) -> bytes:
        with reading(self._key):
            data = os.pread(self._fd, size, position)
        if not data:
            raise Unavailable(self._key, f"it ends after {position} of {self._size} bytes")
        return data


def open_content(disk: Disk, key: str) -> tuple[int, int]:
    """Open finished content; return its descriptor and size."""
    with reading(key):
        fd = disk.objects.open(key, os.O_RDONLY)
        status = os.fstat(fd)
        if S_ISREG(status.st_mode):
            return fd, content_size(status)
        os.close(fd)
        raise NotFound(key)
