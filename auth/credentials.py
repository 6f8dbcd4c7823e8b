"""What a caller shows to say who it is, as it came and not yet checked."""

import re
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from auth.jose import MAX_TOKEN

MAX_USERNAME: Final = 256
MAX_PASSWORD: Final = MAX_TOKEN
"""Longest password in characters: it may be a token."""

_BASE64: Final = re.compile(r"[A-Za-z0-9+/]*={0,2}", re.ASCII)
_BEARER: Final = re.compile(r"[A-Za-z0-9._~+/-]+=*", re.ASCII)


class InvalidCredentials(Exception):
    """The credentials are wrong, or can't be read. The message may be shown to the caller.

    For wrong ones it is the same whether the account is unknown or the secret is another.
    """

    def __init__(self, message: str = "the user name or the password is wrong") -> None:
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class Basic:
    """A user name, and a password or whatever a client can only send in its place."""

    username: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Bearer:
    """A token of this registry or of another issuer."""

    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Certificate:
    """A client certificate that the TLS handshake verified against the configured authority.

    ``names`` holds what it says of its subject: ``cn``, ``dns``, ``uri`` and ``email``.
    """

    names: Mapping[str, tuple[str, ...]]


Credentials = Basic | Bearer | Certificate


def read_authorization(value: str) -> Basic | Bearer:
    """Read the value of an ``Authorization`` header; ``InvalidCredentials`` if it is neither.

    RFC 7617 (Basic, in UTF-8) and RFC 6750 (Bearer).
    """
    scheme, _, rest = value.partition(" ")
    rest = rest.strip(" ")
    match scheme.lower():
        case "basic":
            return _basic(rest)
        case "bearer":
            if len(rest) > MAX_TOKEN or _BEARER.fullmatch(rest) is None:
                raise InvalidCredentials("the Authorization header holds no bearer token")
            return Bearer(rest)
    raise InvalidCredentials("the Authorization header is neither Basic nor Bearer")


def _basic(text: str) -> Basic:
    error = InvalidCredentials("the Authorization header holds no user name and password")
    if len(text) > 2 * MAX_PASSWORD or _BASE64.fullmatch(text) is None:
        raise error
    try:
        username, colon, password = b64decode(text, validate=True).decode().partition(":")
    except (Base64Error, UnicodeDecodeError):
        raise error from None
    if not colon:
        raise error
    return checked(username, password)


def checked(username: str, password: str) -> Basic:
    """Make a pair of a user name and a password; ``InvalidCredentials`` beyond the limits."""
    if len(username) > MAX_USERNAME or len(password) > MAX_PASSWORD:
        raise InvalidCredentials("the user name or the password is too long")
    if not username.isprintable():
        raise InvalidCredentials
    return Basic(username, password)
