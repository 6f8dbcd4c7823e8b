"""What one file of a store holds, and what the operating system's errors mean.

The kind of a file is in its mode, which is made with the file and never changed:

- ``0600`` a value; its version is a hash of its bytes.
- ``0700`` a value written with ``durable=False``, followed by that hash. A crash of the machine may
  leave any of its bytes unwritten under its final name; then the hash does not fit, and the object
  counts as missing.
- ``0400`` content; its version is made of inode, size and time, so that it need not be read.
"""

import errno
import os
import stat as stat_module
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b

from storage.ports import MAX_VALUE, InvalidKey, NotFound, Stat, Unavailable, Value

VALUE, VOLATILE, CONTENT = 0o600, 0o700, 0o400
"""Modes of files, as above."""

_HASH = 16


def digest(data: bytes) -> bytes:
    """The hash that is a value's version: equal versions mean equal bytes."""
    return blake2b(data, digest_size=_HASH).digest()


def sealed(data: bytes) -> bytes:
    """The bytes of a ``VOLATILE`` file."""
    return data + digest(data)


def content_size(status: os.stat_result) -> int:
    """The size of an object that is read in place."""
    if stat_module.S_IMODE(status.st_mode) == VOLATILE:
        return max(status.st_size - _HASH, 0)
    return status.st_size


def read_value(key: str, fd: int) -> Value:
    """The object that is open at ``fd``; ``FileNotFoundError`` where it does not count as one."""
    value, _ = _read(key, fd)
    return value


def read_stat(key: str, fd: int) -> Stat:
    """The same object's ``Stat``. Content is not read."""
    status = os.fstat(fd)
    if stat_module.S_IMODE(status.st_mode) == CONTENT:
        return Stat(status.st_size, _identity(status), status.st_mtime)
    value, status = _read(key, fd)
    return Stat(len(value.data), value.version, status.st_mtime)


def _read(key: str, fd: int) -> tuple[Value, os.stat_result]:
    status = os.fstat(fd)
    if stat_module.S_ISDIR(status.st_mode):
        raise FileNotFoundError(key)
    if status.st_size > MAX_VALUE + _HASH:
        raise ValueError(f"{key}: {status.st_size} bytes are too many for one value; open it")
    data = read_all(fd, status.st_size)
    mode = stat_module.S_IMODE(status.st_mode)
    if mode == CONTENT:
        return Value(data, _identity(status)), status
    if mode == VOLATILE:
        data, seal = data[:-_HASH], data[-_HASH:]
        if digest(data) != seal:
            raise FileNotFoundError(key)
    return Value(data, digest(data).hex()), status


def _identity(status: os.stat_result) -> str:
    return f"{status.st_ino:x}-{status.st_size:x}-{status.st_mtime_ns:x}"


def read_all(fd: int, size: int) -> bytes:
    """Read ``size`` bytes from the descriptor's place, or what there is of them."""
    data = os.read(fd, size) if size else b""
    while len(data) < size:
        more = os.read(fd, size - len(data))
        if not more:
            break
        data += more
    return data


def write_all(fd: int, data: bytes | bytearray | memoryview, offset: int) -> None:
    """Write all of ``data`` from ``offset`` on.

    It is released also where an error keeps this frame alive: a ``bytearray`` can then be resized.
    """
    with memoryview(data) as whole, whole.cast("B") as view:
        done = 0
        while done < len(view):
            done += os.pwrite(fd, view[done:], offset + done)


@contextmanager
def reading(key: str) -> Iterator[None]:
    """Raise the port's error for what the operating system says while ``key`` is read."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        raise NotFound(key) from None
    except OSError as error:
        raise Unavailable(key, _reason(error)) from error


@contextmanager
def writing(key: str) -> Iterator[None]:
    """Raise the port's error for what the operating system says while ``key`` is written."""
    try:
        yield
    except (NotADirectoryError, IsADirectoryError):
        raise InvalidKey(key) from None
    except OSError as error:
        raise Unavailable(key, _reason(error)) from error


def _reason(error: OSError) -> str:
    return _REASONS.get(error.errno or 0) or f"the disk answers: {error.strerror or error}"


_FULL = "the disk is full; free some space"
_FORBIDDEN = "the registry may not do that; give its user the data directory"
_OPEN = "too many files are open; raise the limit (ulimit -n)"
_REASONS = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EACCES: _FORBIDDEN,
    errno.EPERM: _FORBIDDEN,
    errno.EMFILE: _OPEN,
    errno.ENFILE: _OPEN,
    errno.EFBIG: "the file would grow beyond what the registry may write (ulimit -f)",
    errno.EROFS: "the file system is read-only; look into the kernel's log",
    errno.ELOOP: "there is a symbolic link on the way, and none is followed; mount there instead",
    errno.EXDEV: "the data directory spans file systems; it must be on one",
}
