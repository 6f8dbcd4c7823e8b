"""Where the registry may send what happens: addresses that people choose, seen from our network.

A webhook's URL makes the registry send a request from where it stands, so it must not lead to what
only the registry reaches (CVE-2020-13788 of Harbor; OWASP: server-side request forgery). The URL
is checked when it is given; the address that its name stands for each time it is connected to,
since a name may stand for another one by then.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

MAX_URL = 2048
"""Longest URL, in characters."""

_PROTOCOLS = ipaddress.ip_network("192.0.0.0/24")
"""For protocols between neighbours (RFC 6890); Python calls some of it global."""

_NAT64 = (ipaddress.ip_network("64:ff9b::/96"), ipaddress.ip_network("64:ff9b:1::/48"))


class DestinationRefused(ValueError):
    """Nothing is sent there; the message says why."""


class Destinations(msgspec.Struct, frozen=True):
    """What may be sent to: addresses that everybody can reach, and those in ``networks``.

    ``plain_http`` allows URLs without TLS.
    """

    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    plain_http: bool = False

    def check(self, url: str) -> str:
        """Return the URL's host. ``DestinationRefused`` if nothing may be sent to it."""
        if len(url) > MAX_URL or not url.isascii() or not url.isprintable() or " " in url:
            raise DestinationRefused(f"a URL has up to {MAX_URL} visible ASCII characters")
        try:
            parts = urlsplit(url)
            host, _ = parts.hostname, parts.port
        except ValueError as error:
            raise DestinationRefused(f"this is no URL: {error}") from None
        if parts.scheme != "https" and not (self.plain_http and parts.scheme == "http"):
            raise DestinationRefused("the URL has to begin with https://")
        if not host or "\\" in url or "%" in parts.netloc:
            raise DestinationRefused("the URL has no host")
        if "@" in parts.netloc or parts.fragment:
            raise DestinationRefused("the URL may hold no credentials and no fragment")
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return host
        if not self.admits(address):
            raise DestinationRefused(
                "it is an address of an inner network; the configuration would have to allow it "
                "(webhooks.allow_networks)"
            )
        return host

    def admits(self, address: IPv4Address | IPv6Address) -> bool:
        """Whether an address may be connected to, as it is and as what it stands for."""
        return all(self._admits(each) for each in _meanings(address))

    def _admits(self, address: IPv4Address | IPv6Address) -> bool:
        if any(address in network for network in self.networks):
            return True
        return address.is_global and not (
            address.is_multicast
            or address.is_reserved
            or address.is_private
            or address.is_loopback
            or address.is_link_local
            or address.is_unspecified
            or getattr(address, "is_site_local", False)
            or address in _PROTOCOLS
        )


def _meanings(address: IPv4Address | IPv6Address) -> list[IPv4Address | IPv6Address]:
    """Return the address, or the IPv4 addresses that it is only another writing of."""
    if isinstance(address, ipaddress.IPv4Address):
        return [address]
    if address.ipv4_mapped is not None:
        return [address.ipv4_mapped]
    if address.sixtofour is not None:
        return [address.sixtofour]
    if address.teredo is not None:
        return list(address.teredo)
    if any(address in network for network in _NAT64):
        return [ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)]
    return [address]
