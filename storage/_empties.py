"""Empty and tiny objects: names of one file, which is made anew each second.

Most of what is written says only that it is there: a membership, a repository. Or it says that and
when it was written: a reverse membership, of which many in one second are alike. A hard link costs
a file system far less than a file: no inode is searched for, and there is nothing to sync but the
directory. The names are made ahead, in a temporary directory, and each is moved to where it is
wanted, so that the file's count of names is on the disk before the first is used, and never too low
after a crash, also where no journal keeps the two in step.

The objects of one second share a file, so the time that ``stat`` tells of one may be a second too
early.
"""

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import final

from storage._files import VALUE, write_all
from storage._libc import move_to_new
from storage._root import Directory

_SECONDS = 1.0
"""How long the names of one file are used."""

_MOST = 64
"""Names made ahead, at most; ext4 lets a file have 65,000."""

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


TINY = 24
"""Up to so many bytes, an object may be a name of a file that others are names of, too."""

_KINDS = 3
"""Contents that names are made ahead of; the one that was not wanted for longest goes first."""


@final
class Empties:
    """Gives names to files that are empty or tiny. Any thread may call it."""

    def __init__(
        self, temporary: Directory, fresh_name: Callable[[], str], *, ordered: bool
    ) -> None:
        """Keep names that wait in ``temporary``; ``ordered`` as ``orders_renames`` tells."""
        self._temporary = temporary
        self._fresh_name = fresh_name
        self._ordered = ordered
        self._mutex = threading.Lock()
        self._supplies: dict[bytes, _Supply] = {}

    def place(self, directory: int, name: str, data: bytes) -> None:
        """Put a file with ``data`` at ``name`` in ``directory``, in place of what is there.

        It is durable once the directory is. ``FileNotFoundError`` where the directory is gone.
        """
        source = self._take(data)
        try:
            if move_to_new(self._temporary.fd, source, directory, name):
                return
        except OSError:
            self._unlink(source)
            raise
        try:
            os.rename(source, name, src_dir_fd=self._temporary.fd, dst_dir_fd=directory)
        finally:
            # Moving a name onto another of the same file does nothing (rename(2)).
            self._unlink(source)

    def close(self) -> None:
        """Take away the names that wait; called when nothing uses this any more."""
        for supply in self._supplies.values():
            self._drop(supply)
        self._supplies.clear()

    def _take(self, data: bytes) -> str:
        with self._mutex:
            supply = self._supplies.pop(data, None) or _Supply()
            self._supplies[data] = supply
            if len(self._supplies) > _KINDS:
                self._drop(self._supplies.pop(next(iter(self._supplies))))
            if monotonic() - supply.since > _SECONDS:
                supply.ahead = 1
                self._drop(supply)
            if not supply.waiting:
                self._make(supply, data)
            return supply.waiting.pop()

    def _make(self, supply: "_Supply", data: bytes) -> None:
        """Make a file and its names; twice as many each time that they were used up in time."""
        here = self._temporary.fd
        names = [self._fresh_name() for _ in range(supply.ahead)]
        try:
            fd = os.open(names[0], _NEW, VALUE, dir_fd=here)
            try:
                write_all(fd, data, 0)
                for name in names[1:]:
                    os.link(names[0], name, src_dir_fd=here, dst_dir_fd=here)
                if data or not self._ordered:
                    os.fsync(fd)
            finally:
                os.close(fd)
        except BaseException:
            for name in names:
                self._unlink(name)
            raise
        supply.waiting, supply.since = names, monotonic()
        supply.ahead = min(2 * supply.ahead, _MOST)

    def _drop(self, supply: "_Supply") -> None:
        while supply.waiting:
            self._unlink(supply.waiting.pop())

    def _unlink(self, name: str) -> None:
        with suppress(OSError):
            os.unlink(name, dir_fd=self._temporary.fd)


class _Supply:
    """Names of one content that wait to be used, made ``since`` then."""

    def __init__(self) -> None:
        self.waiting: list[str] = []
        self.since = 0.0
        self.ahead = 1
