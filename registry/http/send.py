"""Sending content that is too large for one write: constant memory, at the client's pace."""

import asyncio
import errno
import mmap
import os
import select
import socket
import time
from collections.abc import AsyncIterable
from typing import Final

from aiohttp.web import BaseRequest

from registry.service.pools import Pool
from storage.outlast import outlast
from storage.ports import OpenFile, RelayedReader

_STRIDE = 16 * 1024 * 1024
"""The most bytes that a thread sends in one go, so that many clients share threads."""

_WINDOW = 4 * 1024 * 1024
"""Bytes of a file that are mapped at once: what a transfer adds to the process's memory."""

_QUICK = 2
"""Milliseconds for which a thread waits for a client, until one took longer: then the loop does."""

_ALTOGETHER = 20
"""Milliseconds that a thread waits for a client in one go. Then others have their turn."""

SENDING: Final = Pool(8, "sending")


class _Patience:
    """How a thread waits for one client. ``slow`` once it has waited in vain: then it does not."""

    def __init__(self) -> None:
        self.slow = False
        self._left = 0.0

    def renew(self) -> None:
        """Begin another go."""
        self._left = _ALTOGETHER / 1000

    def has_room(self, sock: int) -> bool:
        """Wait a moment for room in the socket's buffer, or for its failure."""
        if self.slow or self._left <= 0:
            return False
        poll = select.poll()
        poll.register(sock, select.POLLOUT)
        begun = time.monotonic()
        self.slow = not poll.poll(_QUICK)
        self._left -= time.monotonic() - begun
        return not self.slow


async def send_file(
    request: BaseRequest, file: OpenFile, start: int, end: int, idle_seconds: float
) -> None:
    """Send bytes ``start`` to ``end`` of the file; the head must be written already.

    They are written to the socket from where the kernel has them (mmap(2)), with one copy, in a
    thread, because that waits for the disk where the file is not in memory; waiting for the client
    is done on the loop. One that reads as fast as this writes is waited for in the thread: it has
    done sooner, and the others begin as much later. ``ConnectionError`` when the client goes away,
    takes nothing for ``idle_seconds``, or the file is shorter or can't be read.
    """
    transport = request.transport
    if transport is None:
        raise ConnectionResetError("the client went away")
    await _drained(request, idle_seconds)
    # The transport owns its descriptor in the loop's selector: watch a duplicate.
    original: socket.socket = transport.get_extra_info("socket")
    sock = os.dup(original.fileno())
    loop = asyncio.get_running_loop()
    patience = _Patience()
    try:
        while start < end:
            count = min(_STRIDE, end - start)
            patience.renew()
            sending = loop.run_in_executor(
                SENDING, _send_some, sock, file.fd, start, count, patience
            )
            sent = await outlast(sending)
            start += sent
            if sent < count:
                await _writable(sock, idle_seconds)
    finally:
        os.close(sock)


def _send_some(sock: int, file: int, start: int, count: int, patience: _Patience) -> int:
    """Send until the socket's buffer is full or ``count`` bytes are gone; return the number.

    Full is a buffer that stays so for longer than there is ``patience``.
    """
    sent = 0
    while sent < count:
        skipped = (start + sent) % mmap.ALLOCATIONGRANULARITY
        length = min(_WINDOW, skipped + count - sent)
        written = _send_window(sock, file, start + sent - skipped, length, skipped, patience)
        sent += written
        if written < length - skipped:
            break
    return sent


def _send_window(
    sock: int, file: int, start: int, length: int, skipped: int, patience: _Patience
) -> int:
    """Send what follows the first ``skipped`` bytes of a window; the number that was taken."""
    try:
        window = mmap.mmap(file, length, prot=mmap.PROT_READ, offset=start)
    except ValueError as error:
        raise ConnectionResetError("the content ended early") from error
    at = skipped
    with window, memoryview(window) as view:
        while at < length:
            with view[at:] as rest:
                try:
                    at += os.write(sock, rest)
                except BlockingIOError:
                    if not patience.has_room(sock):
                        break
                except OSError as error:
                    if error.errno == errno.EFAULT:
                        raise ConnectionResetError("the content can't be read") from error
                    if error.errno == errno.ENOTCONN:
                        raise ConnectionResetError("the client went away") from error
                    raise
    return at - skipped


async def _writable(sock: int, idle_seconds: float) -> None:
    loop = asyncio.get_running_loop()
    ready = loop.create_future()

    def done() -> None:
        if not ready.done():
            ready.set_result(None)

    loop.add_writer(sock, done)
    try:
        async with asyncio.timeout(idle_seconds):
            await ready
    except TimeoutError:
        raise ConnectionResetError("the client stopped reading") from None
    finally:
        loop.remove_writer(sock)


async def _drained(request: BaseRequest, idle_seconds: float) -> None:
    """Wait until what was written before, the head, has left the transport's own buffer."""
    transport = request.transport
    loop = asyncio.get_running_loop()
    until = loop.time() + idle_seconds
    while transport is not None and transport.get_write_buffer_size():
        if transport.is_closing() or loop.time() > until:
            raise ConnectionResetError("the client stopped reading")
        await asyncio.sleep(0.001)
    if transport is None or transport.is_closing():
        raise ConnectionResetError("the client went away")


async def send_relayed(request: BaseRequest, reader: RelayedReader, idle_seconds: float) -> None:
    """Let the store's bytes go to the client past this process, as far as that can be.

    The head must be written already; the rest is left to ``send_pieces``. ``ConnectionError`` as
    in ``send_file``.
    """
    transport = request.transport
    if transport is None:
        raise ConnectionResetError("the client went away")
    await _drained(request, idle_seconds)
    # As in ``send_file``.
    sink = os.dup(transport.get_extra_info("socket").fileno())
    try:
        await reader.relay(sink, idle_seconds)
    finally:
        os.close(sink)


async def send_pieces(
    request: BaseRequest, pieces: AsyncIterable[bytes], idle_seconds: float
) -> None:
    """Write each piece, and wait for the client; as ``send_file`` where there is no file."""
    writer = request.writer
    async for data in pieces:
        try:
            async with asyncio.timeout(idle_seconds):
                await writer.write(data)
        except TimeoutError:
            raise ConnectionResetError("the client stopped reading") from None
