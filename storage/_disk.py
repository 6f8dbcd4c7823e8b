"""Objects as files: each method one blocking operation, for a thread to run.

An object is written to a temporary file, synced, and renamed to its place; then the directory is
synced. Whatever changes what is at a key holds the key's lock for that one step, so that checks and
changes are one.
"""

import os
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from hashlib import blake2b
from itertools import count
from pathlib import Path
from time import time
from typing import final

from storage._empties import TINY, Empties
from storage._files import (
    VALUE,
    VOLATILE,
    digest,
    read_stat,
    read_value,
    reading,
    sealed,
    write_all,
    writing,
)
from storage._root import (
    OBJECTS,
    PARTIAL,
    TEMPORARY,
    Directory,
    RangeLocks,
    open_root,
    orders_renames,
)
from storage.ports import (
    AlreadyExists,
    InvalidKey,
    Items,
    NotFound,
    PreconditionFailed,
    Stat,
    Unavailable,
    Value,
)

_RETRIES = 100
_STALE = 3600.0
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY
NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL

Check = Callable[[], None]
"""Raises where a write must not happen; called while no other writer of the key can change it."""

Place = Callable[[int, str], None]
"""Gives a file its name in the directory that is open at a descriptor."""


class _KeyLocks:
    """One writer of a key at a time, among all threads and processes."""

    def __init__(self, ranges: RangeLocks) -> None:
        self._ranges = ranges
        self._mutex = threading.Lock()
        self._held: dict[int, tuple[threading.Lock, int]] = {}

    @contextmanager
    def hold(self, key: str) -> Iterator[None]:
        offset = int.from_bytes(blake2b(key.encode(), digest_size=8).digest(), "big") >> 2
        with self._mutex:
            lock, users = self._held.get(offset) or (threading.Lock(), 0)
            self._held[offset] = (lock, users + 1)
        try:
            with lock:
                self._ranges.lock(offset)
                try:
                    yield
                finally:
                    self._ranges.unlock(offset)
        finally:
            with self._mutex:
                lock, users = self._held[offset]
                if users == 1:
                    del self._held[offset]
                else:
                    self._held[offset] = (lock, users - 1)


@final
class Disk:
    """The files of one store. Its methods block; any thread may call them."""

    def __init__(self, root: Path) -> None:
        self._root, self._ranges = open_root(root)
        self.objects = Directory(self._root.open(OBJECTS, _DIRECTORY))
        self.partial = Directory(self._root.open(PARTIAL, _DIRECTORY))
        self.temporary = Directory(self._root.open(TEMPORARY, _DIRECTORY))
        self._locks = _KeyLocks(self._ranges)
        self._token = secrets.token_hex(8)
        self._count = count()
        self.ordered = orders_renames(self.objects.fd)
        self._durable: dict[str, int] = {}
        self._empties = Empties(self.temporary, self.fresh_name, ordered=self.ordered)

    def close(self) -> None:
        """Close the descriptors."""
        self._empties.close()
        for part in (self.objects, self.partial, self.temporary, self._root, self._ranges):
            part.close()

    def sweep(self) -> None:
        """Remove what writers that died left among the temporary files, an hour ago or more."""
        for name in os.listdir(self.temporary.fd):  # noqa: PTH208 - a descriptor
            with suppress(OSError):
                status = os.stat(name, dir_fd=self.temporary.fd, follow_symlinks=False)
                # Of a file that is being taken over the first is old: its name here is not.
                if max(status.st_mtime, status.st_ctime) < time() - _STALE:
                    os.unlink(name, dir_fd=self.temporary.fd)

    def get(self, key: str) -> Value:
        """As the port's ``get``."""
        with reading(key):
            fd = self.objects.open(key, os.O_RDONLY)
            try:
                return read_value(key, fd)
            finally:
                os.close(fd)

    def stat(self, key: str) -> Stat:
        """As the port's ``stat``. Content is not read."""
        with reading(key):
            fd = self.objects.open(key, os.O_RDONLY)
            try:
                return read_stat(key, fd)
            finally:
                os.close(fd)

    def put(self, key: str, data: bytes, *, durable: bool) -> str:
        """As the port's ``put``."""
        return self._write(key, data, durable=durable, commit=durable)

    def put_all(self, items: Items, *, settled: bool = True) -> None:
        """As the port's ``put_all``, of all steps' items one after the other.

        On a file system that ``orders_renames``, the names appear in order and one ``fsync``
        commits them all; elsewhere each directory is synced before the next name appears.
        """
        last = len(items) - 1 if settled else None
        for index, (key, data) in enumerate(items):
            self._write(key, data, commit=index == last or not self.ordered)

    def create(
        self, key: str, data: bytes, *, beside: Items, then: Items, durable: bool, settled: bool
    ) -> str:
        """As the port's ``create``. What ``AlreadyExists`` tells of is as durable as asked for."""
        wait = settled or not self.ordered

        def absent() -> None:
            if self._version(key) is not None:
                raise AlreadyExists(key)

        self.put_all(beside, settled=False)
        try:
            absent()
            commit = wait and (durable or bool(beside)) and not (then and self.ordered)
            version = self._write(key, data, absent, durable=durable, commit=commit)
        except AlreadyExists:
            if wait and (durable or beside):
                with writing(key):
                    self.sync(_parent(key))
            raise
        self.put_all(then, settled=settled)
        return version

    def replace(self, key: str, data: bytes, version: str, *, durable: bool) -> str:
        """As the port's ``replace``."""

        def unchanged() -> None:
            if self._version(key) != version:
                raise PreconditionFailed(key)

        unchanged()
        return self._write(key, data, unchanged, durable=durable, commit=durable)

    def delete(self, key: str, *, version: str | None, durable: bool) -> bool:
        """As the port's ``delete``. Directories that became empty go too."""
        with writing(key):
            with self._locks.hold(key):
                found = self._version(key) if version is not None else None
                if found not in (None, version):
                    raise PreconditionFailed(key)
                self._unlink(key)
            left = self._prune(_parent(key))
            if durable:
                self.sync(left)
        return found is not None

    def fresh_name(self) -> str:
        """A name that no other file among the temporary ones has."""
        return f"{self._token}-{next(self._count):x}"

    def settle(
        self,
        key: str,
        name: str,
        source: Directory,
        check: Check | None,
        *,
        commit: bool = False,
    ) -> None:
        """Move the file ``name`` of ``source`` to ``key``, if ``check`` does not raise.

        With ``commit`` that is durable when it returns.
        """

        def rename(directory: int, last: str) -> None:
            os.rename(name, last, src_dir_fd=source.fd, dst_dir_fd=directory)

        self._place(key, rename, check, commit=commit)

    def _place(self, key: str, place: Place, check: Check | None, *, commit: bool = False) -> None:
        parent, _, last = key.rpartition("/")
        for _ in range(_RETRIES):
            fd = self._directory(key, parent)
            try:
                with self._locks.hold(key):
                    if check is not None:
                        check()
                    place(fd, last)
                if commit:
                    os.fsync(fd)
                inode = os.fstat(fd).st_ino if commit else 0
            except FileNotFoundError:
                if os.fstat(fd).st_nlink:
                    raise
                continue  # the directory was empty, and was removed, after it was opened
            finally:
                os.close(fd)
            if commit:
                self._sync_above(parent, inode)
            return
        raise Unavailable(key, "its directory comes and goes; try again")

    def sync(self, path: str) -> None:
        """Make the names in directory ``path`` durable, and its own in its parents.

        If it is gone, then the nearest of its parents that is there. The parents are synced where
        this process has not done so for this very directory: whoever made it may not have come to
        it yet. A file system that ``orders_renames`` commits them with it.
        """
        while True:
            try:
                inode = self._fsync(path)
            except (FileNotFoundError, NotADirectoryError):
                path = _parent(path)
                continue
            break
        self._sync_above(path, inode)

    def _sync_above(self, path: str, inode: int) -> None:
        """Make the directory ``path``, whose own names are durable, so in its parents."""
        if not path or self.ordered or self._durable.get(path) == inode:
            return
        self.sync(_parent(path))
        if len(self._durable) > 65_536:
            self._durable.clear()
        self._durable[path] = inode

    def _fsync(self, path: str) -> int:
        fd = self.objects.open(path or ".", _DIRECTORY)
        try:
            os.fsync(fd)
            return os.fstat(fd).st_ino
        finally:
            os.close(fd)

    def _version(self, key: str) -> str | None:
        try:
            return self.stat(key).version
        except NotFound:
            return None

    def _write(
        self,
        key: str,
        data: bytes,
        check: Check | None = None,
        *,
        durable: bool = True,
        commit: bool = True,
    ) -> str:
        with writing(key):
            if durable and len(data) <= TINY:

                def place(directory: int, name: str) -> None:
                    self._empties.place(directory, name, data)

                self._place(key, place, check, commit=commit)
            else:
                self._fill_and_settle(key, data, check, durable=durable, commit=commit)
        return digest(data).hex()

    def _fill_and_settle(
        self, key: str, data: bytes, check: Check | None, *, durable: bool, commit: bool
    ) -> None:
        name = self.fresh_name()
        try:
            self._fill(name, data, durable=durable)
            self.settle(key, name, self.temporary, check, commit=commit)
        except BaseException:
            with suppress(OSError):
                os.unlink(name, dir_fd=self.temporary.fd)
            raise

    def _fill(self, name: str, data: bytes, *, durable: bool) -> None:
        mode = VALUE if durable else VOLATILE
        fd = os.open(name, NEW | os.O_CLOEXEC, mode, dir_fd=self.temporary.fd)
        try:
            write_all(fd, data if durable else sealed(data), 0)
            if durable:
                os.fsync(fd)
        finally:
            os.close(fd)

    def _directory(self, key: str, path: str) -> int:
        """Open the directory ``path``; make it and its parents where they are missing."""
        for _ in range(_RETRIES):
            try:
                return self.objects.open(path or ".", _DIRECTORY)
            except FileNotFoundError:
                with suppress(FileNotFoundError):
                    self._make(path)
            except NotADirectoryError:
                raise InvalidKey(key) from None
        raise Unavailable(key, "its directory comes and goes; try again")

    def _make(self, path: str) -> None:
        parent, _, name = path.rpartition("/")
        try:
            fd = self.objects.open(parent or ".", _DIRECTORY)
        except FileNotFoundError:
            self._make(parent)
            fd = self.objects.open(parent, _DIRECTORY)
        try:
            with suppress(FileExistsError):
                os.mkdir(name, 0o700, dir_fd=fd)
        finally:
            os.close(fd)

    def _unlink(self, key: str) -> None:
        parent, _, name = key.rpartition("/")
        with suppress(FileNotFoundError, NotADirectoryError):
            fd = self.objects.open(parent or ".", _DIRECTORY)
            try:
                os.unlink(name, dir_fd=fd)
            finally:
                os.close(fd)

    def _prune(self, path: str) -> str:
        """Remove ``path`` and its parents while they are empty; return the first that stays.

        Directories right below ``objects`` stay: there are few, and they fill again.
        """
        while "/" in path:
            parent, _, name = path.rpartition("/")
            try:
                fd = self.objects.open(parent, _DIRECTORY)
            except (FileNotFoundError, NotADirectoryError):
                path = parent
                continue
            try:
                os.rmdir(name, dir_fd=fd)
            except FileNotFoundError:
                pass
            except OSError:
                return path
            finally:
                os.close(fd)
            path = parent
        return path


def _parent(path: str) -> str:
    return path.rpartition("/")[0]
