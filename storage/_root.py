"""The data directory on disk: opening below it without leaving it, and its layout's version."""

import errno
import fcntl
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import final

from storage._layout import MARKER, StoreRefused, check_marker, marker
from storage._libc import openat2

OBJECTS = "objects"
TEMPORARY = "tmp"
PARTIAL = "partial"
LOCK = "lock"

_OURS = frozenset({MARKER, f"{MARKER}.new", OBJECTS, TEMPORARY, PARTIAL, LOCK})
_HARMLESS = frozenset({"coordination", "lost+found"})
_START = 1 << 62
"""The lock file's byte that start-ups lock; those of keys are below it."""

_FLAGS = os.O_CLOEXEC | os.O_NOFOLLOW


@final
class Directory:
    """A directory held open, below which paths are opened.

    No symbolic link is ever followed, at any place of a path, so nothing outside can be reached:
    by ``openat2(2)`` with ``RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS``, and where the kernel has it
    not (before 5.6, or refused by a container's filter) segment by segment with ``O_NOFOLLOW``.
    """

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def open(self, path: str, flags: int, mode: int = 0) -> int:
        """As ``os.open``, close-on-exec. A symbolic link on the way is ``ELOOP``."""
        if _has_openat2:
            return openat2(self.fd, path, flags | _FLAGS, mode)
        return _walk(self.fd, path, flags, mode)

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self.fd)


def _walk(fd: int, path: str, flags: int, mode: int) -> int:
    *parents, last = path.split("/")
    here = fd
    try:
        for name in parents:
            below = os.open(name, os.O_RDONLY | os.O_DIRECTORY | _FLAGS, dir_fd=here)
            if here != fd:
                os.close(here)
            here = below
        return os.open(last, flags | _FLAGS, mode, dir_fd=here)
    finally:
        if here != fd:
            os.close(here)


def _probe() -> bool:
    here = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.close(openat2(here, ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, 0))
    except OSError:
        return False
    else:
        return True
    finally:
        os.close(here)


_has_openat2 = _probe()


@final
class RangeLocks:
    """Byte-range locks on one file, between processes (``F_OFD_SETLK``, see fcntl(2)).

    They belong to the open file: the kernel drops them when it is closed, so a process that dies
    leaves none. Two locks through one ``RangeLocks`` do not exclude each other, and a forked child
    shares its parent's: each process opens its own.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def lock(self, offset: int) -> None:
        """Wait for the byte at ``offset``."""
        self._set(fcntl.F_OFD_SETLKW, fcntl.F_WRLCK, offset)

    def try_lock(self, offset: int) -> bool:
        """Take the byte at ``offset`` if nobody has it; never wait."""
        try:
            self._set(fcntl.F_OFD_SETLK, fcntl.F_WRLCK, offset)
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.EACCES):
                return False
            raise
        return True

    def unlock(self, offset: int) -> None:
        """Let the byte at ``offset`` go."""
        self._set(fcntl.F_OFD_SETLK, fcntl.F_UNLCK, offset)

    def close(self) -> None:
        """Close the file, and drop all locks with it."""
        os.close(self._fd)

    def _set(self, command: int, kind: int, offset: int) -> None:
        # struct flock: l_type, l_whence, l_start, l_len, l_pid, and padding to its alignment
        fcntl.fcntl(self._fd, command, struct.pack("@hhqqi0q", kind, os.SEEK_SET, offset, 1, 0))


@contextmanager
def _starting(locks: RangeLocks) -> Iterator[None]:
    locks.lock(_START)
    try:
        yield
    finally:
        locks.unlock(_START)


def open_root(root: Path) -> tuple[Directory, RangeLocks]:
    """Open ``root`` as a store's directory, and make it one if it is new and empty.

    ``StoreRefused`` where it is not ours to write to. Takes the same time however much is
    stored.
    """
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _refuse_foreign(root, fd)
        lock = os.open(LOCK, os.O_RDWR | os.O_CREAT | _FLAGS, 0o600, dir_fd=fd)
        locks = RangeLocks(lock)
        try:
            with _starting(locks):
                if not _marked(root, fd):
                    _mark(fd)
                for name in (OBJECTS, TEMPORARY, PARTIAL):
                    _ensure(fd, name)
        except BaseException:
            locks.close()
            raise
    except BaseException:
        os.close(fd)
        raise
    return Directory(fd), locks


def _refuse_foreign(root: Path, fd: int) -> None:
    names = set(os.listdir(fd))
    foreign = sorted(names - _OURS - _HARMLESS)
    if MARKER not in names and foreign:
        raise StoreRefused(
            str(root),
            f"it holds other things ({foreign[0]}) and no {MARKER}; name an empty directory",
        )


def _marked(root: Path, fd: int) -> bool:
    try:
        with open(os.open(MARKER, os.O_RDONLY | _FLAGS, dir_fd=fd), "rb") as file:  # noqa: PTH123
            check_marker(str(root), file.read(65536))
    except FileNotFoundError:
        return False
    return True


def _mark(fd: int) -> None:
    new = f"{MARKER}.new"
    made = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | _FLAGS, 0o600, dir_fd=fd)
    try:
        os.write(made, marker())
        os.fsync(made)
    finally:
        os.close(made)
    os.rename(new, MARKER, src_dir_fd=fd, dst_dir_fd=fd)
    os.fsync(fd)


def _ensure(fd: int, name: str) -> None:
    try:
        os.mkdir(name, 0o700, dir_fd=fd)
    except FileExistsError:
        return
    os.fsync(fd)


def orders_renames(directory: int) -> bool:
    """Whether the file system makes changes of names durable in the order they were made.

    True for the journals of ext4 and XFS: one ``fsync`` commits all that was done to any directory
    before. Others (btrfs logs one directory at a time, ext4 can be made without a journal, or with
    one that logs single files) get an ``fsync`` for each directory, and so does what can't be told.
    """
    device = os.fstat(directory).st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as mounts:  # noqa: PTH123
            for line in mounts:
                fields, _, rest = line.partition(" - ")
                if fields.split()[2] == wanted:
                    kind, source = rest.split()[:2]
                    return kind == "xfs" or (kind == "ext4" and _journalled(source))
    except (OSError, IndexError):
        pass
    return False


def _journalled(source: str) -> bool:
    """Whether ext4 on the device ``source`` has a journal, and one that takes whole commits."""
    name = os.path.basename(os.path.realpath(source))  # noqa: PTH119
    try:
        with open(f"/proc/fs/ext4/{name}/options", encoding="utf-8") as options:  # noqa: PTH123
            lines = options.read().split()
    except OSError:
        return False
    # A mount without a journal has no data= mode.
    return any(line.startswith("data=") for line in lines) and "fast_commit" not in lines
