"""Where a request comes from and how, if a proxy passed it on.

A header that says so can be written by anybody. It counts only where the connection itself comes
from a proxy that the configuration names, and only as far back as each hop was named too.
"""

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

Network = IPv4Network | IPv6Network

MAX_HOPS: Final = 32
"""Most hops of ``X-Forwarded-For`` that are looked at, from the nearest."""


class Proxies:
    """The proxies that are believed."""

    def __init__(self, networks: Iterable[str]) -> None:
        """Believe proxies in these networks. ``ValueError`` for what is none."""
        self._networks: Sequence[Network] = [ip_network(each) for each in networks]

    def __bool__(self) -> bool:
        return bool(self._networks)

    def client(self, peer: str, forwarded: Sequence[str]) -> str:
        """Return the address of the client that is behind the connection from ``peer``.

        ``forwarded`` holds the lines of ``X-Forwarded-For``. The answer is the nearest address that
        is none of a proxy's. What can't be read ends the search: the hop that wrote it is known.
        """
        found = peer
        hops = [hop.strip(" \t") for line in forwarded for hop in line.split(",")]
        for hop in reversed(hops[-MAX_HOPS:]):
            if not self.knows(found):
                break
            address = _read(hop)
            if address is None:
                break
            found = str(address)
        return found

    def secure(self, peer: str, forwarded: Sequence[str]) -> bool:
        """Whether the proxy that the connection from ``peer`` is of says that it was asked by TLS.

        ``forwarded`` holds the lines of ``X-Forwarded-Proto``; of several values, the last is that
        proxy's own.
        """
        return (
            bool(forwarded)
            and forwarded[-1].rpartition(",")[2].strip(" \t").lower() == "https"
            and self.knows(peer)
        )

    def knows(self, text: str) -> bool:
        """Whether an address is that of a proxy that is believed."""
        address = _read(text)
        return address is not None and any(address in network for network in self._networks)


def _read(text: str) -> IPv4Address | IPv6Address | None:
    """Read an address; some proxies write it with a port, IPv6 then in brackets."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
