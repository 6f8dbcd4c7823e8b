"""Accepting connections from sockets that other workers accept from, too."""

import asyncio
import errno
import logging
import socket
from collections.abc import Callable, Mapping
from typing import Any, Final, final

_log = logging.getLogger("moorage.listener")

_LEAVE_SECONDS: Final = 0.001
"""How long a connection is left to another worker, for each that this one is ahead."""

_LONGEST_LEAVE: Final = 0.01
_TAKEN_THEN: Final = 8
"""How many it takes after that, at the most: the others may be stuck."""

_ROUND: Final = 100
_SHORTAGE: Final = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))
_SHORTAGE_SECONDS: Final = 1.0


@final
class Acceptor:
    """Takes connections from one listening socket, and has them served."""

    def __init__(
        self,
        sock: socket.socket,
        protocol: Callable[[], asyncio.Protocol],
        ahead: Callable[[], int] | None,
        options: Mapping[str, Any],
    ) -> None:
        """Accept from ``sock``, in the running loop, until closed.

        ``ahead`` says how many connections this process has more than another one that accepts
        from the socket; ``None`` where there is no other. ``options`` are those of the loop's
        ``connect_accepted_socket``.
        """
        self._sock = sock
        self._protocol = protocol
        self._ahead = ahead
        self._options = options
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._opening: set[asyncio.Task[None]] = set()
        self._watch()

    def close(self) -> None:
        """Accept no more, and close the socket. What was accepted goes on."""
        if self._timer is not None:
            self._timer.cancel()
        self._loop.remove_reader(self._sock)
        self._sock.close()

    def _watch(self) -> None:
        self._timer = None
        self._loop.add_reader(self._sock, self._readable)

    def _pause(self, seconds: float, then: Callable[[], None]) -> None:
        self._loop.remove_reader(self._sock)
        self._timer = self._loop.call_later(seconds, then)

    def _readable(self) -> None:
        if self._ahead is None:
            self._take(_ROUND)
        elif ahead := self._ahead():
            self._pause(min(ahead * _LEAVE_SECONDS, _LONGEST_LEAVE), self._take_left)
        else:
            self._take(1)

    def _take_left(self) -> None:
        self._watch()
        self._take(_TAKEN_THEN)

    def _take(self, most: int) -> None:
        for _ in range(most):
            try:
                accepted, _ = self._sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in _SHORTAGE:
                    raise
                _log.error("no connection can be accepted now: %s", error.strerror)
                self._pause(_SHORTAGE_SECONDS, self._watch)
                return
            accepted.setblocking(False)  # noqa: FBT003  the socket module's own signature
            task = self._loop.create_task(self._open(accepted))
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)

    async def _open(self, accepted: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._protocol, accepted, **self._options)
        except OSError as error:  # a handshake that failed, or took too long
            _log.debug("a connection came to nothing: %s", type(error).__name__)
