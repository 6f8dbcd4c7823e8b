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
_API_KEY: Final = re.compile(r"[A-Za-z0-9_-]{16}\.[A-Za-z0-9_-]{32,128}", re.ASCII)
_ISSUED: Final = re.compile(
    r"mrg_(?P<kind>pat|bot|off)_(?P<id>[0-9a-f]{16})_[A-Za-z0-9]{43}", re.ASCII
)


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
class ApiKey:
    """A key of a platform: a prefix that names it, a dot, and a secret (Hopsworks)."""

    key: str = field(repr=False)

    @property
    def name(self) -> str:
        """What names it in logs: the prefix."""
        return self.key.partition(".")[0]


@dataclass(frozen=True, slots=True)
class Certificate:
    """A client certificate that the TLS handshake verified against the configured authority.

    ``names`` holds what it says of its subject: ``cn``, ``dns``, ``uri`` and ``email``.
    """

    names: Mapping[str, tuple[str, ...]]


Credentials = Basic | Bearer | ApiKey | Certificate


def looks_like_api_key(text: str) -> bool:
    """Whether it has the form of a platform's key: a routing question, that proves nothing."""
    return _API_KEY.fullmatch(text) is not None


def issued_secret(text: str) -> tuple[str, str] | None:
    """Read a secret that the registry itself gives out: its kind, and the id of its record.

    ``None`` if it has another form. It proves nothing: whether the rest is right is to be checked.
    """
    found = _ISSUED.fullmatch(text)
    return (found["kind"], found["id"]) if found else None


def read_authorization(value: str) -> Basic | Bearer | ApiKey:
    """Read the value of an ``Authorization`` header; ``InvalidCredentials`` if it is none of these.

    RFC 7617 (Basic, in UTF-8), RFC 6750 (Bearer), and ``ApiKey`` as Hopsworks' clients send it.
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
        case "apikey":
            if not looks_like_api_key(rest):
                raise InvalidCredentials("the Authorization header holds no API key")
            return ApiKey(rest)
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
