"""Addresses that documents are fetched from."""

import ipaddress
from urllib.parse import urlsplit


def is_protected(url: str) -> bool:
    """Whether nobody between here and there can change what comes: TLS, or this very machine."""
    parts = urlsplit(url)
    if parts.scheme == "https":
        return True
    if parts.scheme != "http":
        return False
    if parts.hostname == "localhost":
        return True
    try:
        return ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return False
