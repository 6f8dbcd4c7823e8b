"""Empty objects: names of one empty file, which is made anew each second.

Most of what is written says only that it is there: a membership, a reverse membership, a
repository. A hard link costs a file system far less than a file: no inode is searched for, and
there is nothing to sync but the directory. The names are made ahead, in a temporary directory, and
each is moved to where it is wanted, so that the file's count of names is on the disk before the
first is used, and never too low after a crash, also where no journal keeps the two in step.

The objects of one second share a file, so the time that ``stat`` tells of one may be a second too
early.
"""

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import final

from storage._files import VALUE
from storage._root import Directory

_SECONDS = 1.0
"""How long the names of one file are used."""

_MOST = 64
"""Names made ahead, at most; ext4 lets a file have 65,000."""

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


@final
class Empties:
    """Gives names to empty files. Any thread may call it."""

    def __init__(
        self, temporary: Directory, fresh_name: Callable[[], str], *, ordered: bool
    ) -> None:
        """Keep names that wait in ``temporary``; ``ordered`` as ``orders_renames`` tells."""
        self._temporary = temporary
        self._fresh_name = fresh_name
        self._ordered = ordered
        self._mutex = threading.Lock()
        self._waiting: list[str] = []
        self._since = 0.0
        self._ahead = 1

    def place(self, directory: int, name: str) -> None:
        """Put an empty file at ``name`` in ``directory``, in place of what is there.

        It is durable once the directory is. ``FileNotFoundError`` where the directory is gone.
        """
        source = self._take()
        try:
            os.rename(source, name, src_dir_fd=self._temporary.fd, dst_dir_fd=directory)
        finally:
            # Moving a name onto another of the same file does nothing (rename(2)).
            self._unlink(source)

    def close(self) -> None:
        """Take away the names that wait; called when nothing uses this any more."""
        while self._waiting:
            self._unlink(self._waiting.pop())

    def _take(self) -> str:
        with self._mutex:
            late = monotonic() - self._since > _SECONDS
            if late:
                self._ahead = 1
                self.close()
            if not self._waiting:
                self._make()
            return self._waiting.pop()

    def _make(self) -> None:
        """Make a file and its names; twice as many each time that they were used up in time."""
        here = self._temporary.fd
        names = [self._fresh_name() for _ in range(self._ahead)]
        try:
            fd = os.open(names[0], _NEW, VALUE, dir_fd=here)
            try:
                for name in names[1:]:
                    os.link(names[0], name, src_dir_fd=here, dst_dir_fd=here)
                if not self._ordered:
                    os.fsync(fd)
            finally:
                os.close(fd)
        except BaseException:
            for name in names:
                self._unlink(name)
            raise
        self._waiting, self._since = names, monotonic()
        self._ahead = min(2 * self._ahead, _MOST)

    def _unlink(self, name: str) -> None:
        with suppress(OSError):
            os.unlink(name, dir_fd=self._temporary.fd)
