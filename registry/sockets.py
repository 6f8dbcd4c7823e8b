"""Binding the addresses that are served."""

import errno
import socket
from typing import Any

from registry.config import Address


class CannotStart(Exception):
    """Something outside the program is in the way. The message says what, and what to do."""


def open_sockets(address: Address) -> list[socket.socket]:
    """Bind all that ``address`` stands for.

    Of a host with an address in each family (``localhost``) both are bound, to the same port; IPv6
    is left out where the machine has none. ``CannotStart`` if the address can't be had.
    """
    sockets: list[socket.socket] = []
    try:
        for family, target in address.resolve():
            port = sockets[0].getsockname()[1] if sockets else address.port
            try:
                sockets.append(_bind(family, (target[0], port, *target[2:])))
            except OSError as error:
                absent = error.errno in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)
                if not (sockets and family == socket.AF_INET6 and absent):
                    raise
    except OSError as error:
        close_all(sockets)
        raise _cannot_listen(address, error) from error
    return sockets


def listen(sockets: list[socket.socket], address: Address, backlog: int) -> None:
    """Let clients connect to ``sockets``, which ``open_sockets`` has bound to ``address``.

    Of several processes that bind one address at the same moment one can do that, and the others
    get ``CannotStart``. May be repeated.
    """
    for sock in sockets:
        try:
            sock.listen(backlog)
        except OSError as error:
            raise _cannot_listen(address, error) from error


def _cannot_listen(address: Address, error: OSError) -> CannotStart:
    return CannotStart(
        f"can't listen on {address}: {error.strerror or error}. Is another registry, or something "
        "else, using this port? Choose another with --addr HOST:PORT."
    )


def _bind(family: socket.AddressFamily, target: tuple[Any, ...]) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(target)
        sock.setblocking(False)  # noqa: FBT003  the socket module's own signature
    except OSError:
        sock.close()
        raise
    return sock


def close_all(sockets: list[socket.socket]) -> None:
    """Close them."""
    for sock in sockets:
        sock.close()
