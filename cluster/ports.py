"""Ports that stay free while the process that is to listen there is down."""

import secrets
import socket
from pathlib import Path

LOOPBACK = "127.0.0.1"

_LOWEST = 12_000
_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_given: set[int] = set()


def take_port() -> int:
    """Return a loopback port that nobody uses, and that no call in this process gave before.

    It lies below the ports that the kernel gives to outgoing connections: one of those may be
    taken by any client at the moment when a killed server is to be started again.
    """
    highest = int(_RANGE.read_text().split()[0]) if _RANGE.exists() else 32_768
    while True:
        # Not of `random`, which a test may have seeded as another process did.
        port = _LOWEST + secrets.randbelow(highest - _LOWEST)
        if port in _given:
            continue
        try:
            with socket.create_server((LOOPBACK, port)):
                pass
        except OSError:
            continue
        _given.add(port)
        return port
