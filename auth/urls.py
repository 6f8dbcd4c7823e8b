"""Addresses of others that are asked about callers."""

import ipaddress
from urllib.parse import urlsplit


def is_protected(url: str) -> bool:
    """Whether nobody between here and there can change what comes: TLS, or this very machine."""
    parts = urlsplit(url)
    if parts.scheme in ("https", "ldaps"):
        return True
    if parts.scheme not in ("http", "ldap"):
        return False
    if parts.hostname == "localhost":
        return True
    try:
        return ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return False
