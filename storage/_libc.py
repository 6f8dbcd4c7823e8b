"""System calls that Python has not: opening without links, moving to a new name, write-back."""

import ctypes
import errno
import os
import struct

_OPENAT2 = 437
_RESOLVE_NO_SYMLINKS = 0x04
_RESOLVE_BENEATH = 0x08
_RENAME_NOREPLACE = 1
_SYNC_FILE_RANGE_WRITE = 2

_libc = ctypes.CDLL(None, use_errno=True)

_syscall = _libc.syscall
_syscall.argtypes = [
    ctypes.c_long,
    ctypes.c_int,
    ctypes.c_char_p,
    ctypes.c_char_p,
    ctypes.c_size_t,
]
_syscall.restype = ctypes.c_long

_renameat2 = getattr(_libc, "renameat2", None)
if _renameat2 is not None:
    _renameat2.argtypes = [
        ctypes.c_int,
        ctypes.c_char_p,
        ctypes.c_int,
        ctypes.c_char_p,
        ctypes.c_uint,
    ]

_sync_file_range = getattr(_libc, "sync_file_range", None)
if _sync_file_range is not None:
    _sync_file_range.argtypes = [ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint]


def openat2(fd: int, path: str, flags: int, mode: int) -> int:
    """Open ``path`` below the directory ``fd``; a link on the way is ``ELOOP`` (openat2(2))."""
    how = struct.pack("QQQ", flags, mode, _RESOLVE_BENEATH | _RESOLVE_NO_SYMLINKS)
    while True:
        opened: int = _syscall(_OPENAT2, fd, path.encode(), how, len(how))
        if opened >= 0:
            return opened
        number = ctypes.get_errno()
        if number not in (errno.EINTR, errno.EAGAIN):
            raise OSError(number, os.strerror(number), path)


def move_to_new(source: int, name: str, target: int, new: str) -> bool:
    """Move ``name`` of the directory ``source`` to ``new`` in ``target``, which nothing has yet.

    ``False``, and nothing is done, where something has it, or where the system can't do this
    (renameat2(2) with ``RENAME_NOREPLACE``, which not every file system knows).
    """
    if _renameat2 is None:
        return False
    if _renameat2(source, name.encode(), target, new.encode(), _RENAME_NOREPLACE) == 0:
        return True
    number = ctypes.get_errno()
    if number in (errno.EEXIST, errno.EINVAL, errno.ENOSYS):
        return False
    raise OSError(number, os.strerror(number), name, None, new)


def begin_write_back(fd: int, offset: int, size: int) -> None:
    """Have the kernel begin to write these bytes to the disk, without waiting for it.

    It makes nothing durable, and its failure means nothing: the ``fdatasync`` that follows tells.
    """
    if _sync_file_range is not None:
        _sync_file_range(fd, offset, size, _SYNC_FILE_RANGE_WRITE)
