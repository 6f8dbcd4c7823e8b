"""Bytes from one socket to another that do not pass through the process (splice(2), Linux)."""

import asyncio
import fcntl
import os
from contextlib import suppress
from typing import Final

AVAILABLE: Final = hasattr(os, "splice")

_PIPE: Final = 1024 * 1024
"""Bytes on their way at the most: what a pipe may hold without privileges.

A user may have 64 such pipes (pipe-user-pages-soft, pipe(7)); any more stay as small as they are.
"""

_TURN: Final = 8 * 1024 * 1024
"""Bytes after which others have their turn on the loop."""


async def splice(
    source: int, sink: int, count: int, *, source_seconds: float, sink_seconds: float
) -> int:
    """Move ``count`` bytes from a socket to another; return how many were moved.

    Both are descriptors that do not block, and that nothing else on this loop watches. It is fewer
    where the source ends, fails, or brings nothing for ``source_seconds``; ``ConnectionResetError``
    where the sink fails, or takes nothing for ``sink_seconds``. It is none where the process may
    open no more files. Cancelled, it loses bytes.
    """
    try:
        out, into = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return 0
    try:
        with suppress(OSError):
            fcntl.fcntl(into, fcntl.F_SETPIPE_SZ, _PIPE)
        return await _move(source, sink, count, (out, into), source_seconds, sink_seconds)
    finally:
        os.close(out)
        os.close(into)


async def send(sink: int, data: bytes, seconds: float) -> None:
    """Write all of it. ``ConnectionResetError`` as in ``splice``."""
    with memoryview(data) as view:
        at = 0
        while at < len(view):
            try:
                at += os.write(sink, view[at:])
            except BlockingIOError:
                await _writable(sink, seconds)
            except OSError as error:
                raise ConnectionResetError("the client went away") from error


async def _move(
    source: int,
    sink: int,
    count: int,
    pipe: tuple[int, int],
    source_seconds: float,
    sink_seconds: float,
) -> int:
    out, into = pipe
    taken = sent = 0
    turn = _TURN
    more = True
    while sent < count:
        came = _take(source, into, count - taken) if more and taken < count else 0
        if came is not None:
            taken += came
            more = came > 0
        if taken > sent:
            sent += await _pass(out, sink, taken - sent, sink_seconds)
        elif not more or not await _readable(source, source_seconds):
            break
        if sent >= turn:
            turn = sent + _TURN
            await asyncio.sleep(0)
    return sent


def _take(source: int, into: int, count: int) -> int | None:
    """Move what has come into the pipe: 0 at the end, ``None`` for nothing yet, or no room."""
    try:
        return os.splice(source, into, count, flags=os.SPLICE_F_NONBLOCK)
    except BlockingIOError:
        return None
    except OSError:
        return 0


async def _pass(out: int, sink: int, count: int, seconds: float) -> int:
    """Move something from the pipe on, when there is room for it."""
    while True:
        try:
            return os.splice(out, sink, count, flags=os.SPLICE_F_NONBLOCK)
        except BlockingIOError:
            await _writable(sink, seconds)
        except OSError as error:
            raise ConnectionResetError("the client went away") from error


async def _readable(source: int, seconds: float) -> bool:
    """Wait for bytes, or the end; ``False`` where there is neither in time."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(source, ready.set)
    try:
        async with asyncio.timeout(seconds):
            await ready.wait()
    except TimeoutError:
        return False
    finally:
        loop.remove_reader(source)
    return True


async def _writable(sink: int, seconds: float) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_writer(sink, ready.set)
    try:
        async with asyncio.timeout(seconds):
            await ready.wait()
    except TimeoutError:
        raise ConnectionResetError("the client stopped reading") from None
    finally:
        loop.remove_writer(sink)
