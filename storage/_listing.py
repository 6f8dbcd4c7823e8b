"""A sorted, bounded walk over the keys below a prefix."""

import os
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import islice
from threading import Lock
from time import time_ns
from typing import final

from storage._root import Directory

_REMEMBERED = 100_000
"""Names that are remembered, in all: about 10 MB."""

_WORTH = 64
"""Directories of fewer names are read each time."""

_SETTLED = 100_000_000
"""Nanoseconds; a directory that changed so recently is not remembered."""


@final
class Listings:
    """Lists keys, one directory at a time, and remembers the names in large directories.

    With ``/`` behind the names of directories, the order of the names in one directory is the
    order of the whole keys below them: no such name begins with another.
    """

    def __init__(self, objects: Directory, *, counts_links: bool) -> None:
        """Read ``objects``. ``counts_links``: a directory's link count tells its directories."""
        self._objects = objects
        self._counts_links = counts_links
        self._lock = Lock()
        self._remembered: dict[str, tuple[tuple[int, int], list[str]]] = {}
        self._total = 0

    def keys(self, prefix: str, after: str, limit: int) -> list[str]:
        """Return up to ``limit`` keys that start with ``prefix`` and sort after ``after``.

        Directories whose keys all sort up to ``after``, or behind the last key that is wanted, are
        not read.
        """
        return list(islice(self._walk(prefix, after), max(limit, 0)))

    def directories(self, prefix: str) -> list[str]:
        """Return the names, in order, of directories in ``prefix`` that have any key below them."""
        return [
            name[:-1]
            for name in self._names(prefix)
            if name.endswith("/") and self.keys(prefix + name, "", 1)
        ]

    def _walk(self, prefix: str, after: str) -> Iterator[str]:
        start, names = 0, self._names(prefix)
        if after.startswith(prefix):
            rest = after[len(prefix) :]
            start = bisect_right(names, rest)
            if start and names[start - 1].endswith("/") and rest.startswith(names[start - 1]):
                start -= 1  # the directory that ``after`` is in
        elif after > prefix:
            return
        for index in range(start, len(names)):
            name = names[index]
            if name.endswith("/"):
                yield from self._walk(prefix + name, after)
            else:
                yield prefix + name

    def _names(self, prefix: str) -> Sequence[str]:
        try:
            fd = self._objects.open(prefix[:-1], os.O_RDONLY | os.O_DIRECTORY)
        except (FileNotFoundError, NotADirectoryError):
            return ()
        try:
            status = os.fstat(fd)
            state = (status.st_ino, status.st_mtime_ns)
            known = self._remembered.get(prefix)
            if known is not None and known[0] == state:
                return known[1]
            started = time_ns()
            names = self._read(fd, status)
        finally:
            os.close(fd)
        names.sort()
        # The time of a directory moves with each change in it, in ticks of up to 10 ms: when it
        # was this long ago, then the next change will show.
        if len(names) >= _WORTH and started - status.st_mtime_ns > _SETTLED:
            self._remember(prefix, state, names)
        return names

    def _read(self, fd: int, status: os.stat_result) -> list[str]:
        if self._counts_links and status.st_nlink == 2:
            names = os.listdir(fd)
            if os.fstat(fd).st_nlink == 2:
                return names  # no directory among them, so that none need be told apart
        with os.scandir(fd) as entries:
            return [
                f"{entry.name}/" if entry.is_dir(follow_symlinks=False) else entry.name
                for entry in entries
            ]

    def _remember(self, prefix: str, state: tuple[int, int], names: list[str]) -> None:
        with self._lock:
            self._forget(prefix)
            self._remembered[prefix] = (state, names)
            self._total += len(names)
            while self._total > _REMEMBERED:
                self._forget(next(iter(self._remembered)))

    def _forget(self, prefix: str) -> None:
        known = self._remembered.pop(prefix, None)
        if known is not None:
            self._total -= len(known[1])
