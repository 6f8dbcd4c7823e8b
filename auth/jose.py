"""Signed tokens (JWS, RFC 7515): opening one, strictly, and making one.

PyJWT does the cryptography. What is decided here: how large a token may be, which key and which
algorithm are used (by the key's id, from a set that the token has no say in), and that nothing of
its payload is looked at before its signature was found good.
"""

from base64 import urlsafe_b64decode
from binascii import Error as Base64Error
from collections.abc import Callable, Sequence
from typing import Final

import msgspec
from jwt import PyJWS
from jwt.exceptions import PyJWTError

from auth.keys import SigningKey, VerifyingKey

MAX_TOKEN: Final = 16 * 1024
"""Longest token, in characters; it has to fit into a request's head."""

_MAX_HEADER: Final = 2048
_MAX_KID: Final = 256
TOKENS: Final = ("jwt", "at+jwt")
"""What the header of a token says that it is, in lower case (RFC 8725 §3.11)."""

_jws: Final = PyJWS(
    algorithms=["ES256", "ES384", "ES512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512",
                "EdDSA"]
)  # fmt: skip


class InvalidToken(Exception):
    """The token is not taken. The message says why, to its bearer and to the log; never what."""


class _Header(msgspec.Struct, frozen=True):
    """What counts of a token's header.

    ``jwk``, ``jku``, ``x5u`` and ``x5c``, keys that a token brings along or points at, are not
    even read (CVE-2025-24976). ``crit`` and ``b64`` would change what the rest means: a header
    that has them can't be read.
    """

    alg: str
    kid: str | None = None
    typ: str | None = None
    crit: None = None
    b64: None = None


_read_header = msgspec.json.Decoder(_Header).decode


def looks_like_token(text: str) -> bool:
    """Whether it has the outer form of a token: a routing question, that proves nothing."""
    return text.count(".") == 2 and text.startswith("ey")


def key_id(token: str) -> str | None:
    """Return the id of the key that a token says it was signed with; ``InvalidToken`` if none."""
    return _header(token).kid


def open_token(
    token: str,
    key_for: Callable[[str | None], VerifyingKey | None],
    types: Sequence[str] = TOKENS,
) -> bytes:
    """Return the payload of a token with a good signature; ``InvalidToken`` for any other.

    ``key_for`` gives the key of an id, or of a token without one. ``types`` are those that it may
    be of.
    """
    header = _header(token)
    kind = (header.typ or "JWT").lower().removeprefix("application/")
    if kind not in types:
        raise InvalidToken(f"the token is of another type: {' or '.join(types)} is expected")
    key = key_for(header.kid)
    if key is None:
        raise InvalidToken("the token was signed with a key that is not known here")
    if header.alg not in key.algorithms:
        raise InvalidToken("the token's algorithm is not that of its key")
    try:
        payload = _jws.decode(token, key.key, algorithms=[header.alg])
    except (PyJWTError, ValueError, TypeError) as error:
        raise InvalidToken("the token's signature is wrong") from error
    assert isinstance(payload, bytes)  # noqa: S101  what PyJWS gives
    return payload


def _header(token: str) -> _Header:
    if len(token) > MAX_TOKEN or not token.isascii():
        raise InvalidToken(f"a token has at most {MAX_TOKEN} characters, all of them ASCII")
    segment, *rest = token.split(".", 3)
    if len(rest) != 2 or len(segment) > _MAX_HEADER:
        raise InvalidToken("this is no signed token")
    try:
        data = urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
        header = _read_header(data)
    except (Base64Error, ValueError, RecursionError) as error:
        raise InvalidToken("the token's header can't be read") from error
    if header.kid is not None and len(header.kid) > _MAX_KID:
        raise InvalidToken("the token's key id is too long")
    return header


def unverified(token: str) -> dict[str, object]:
    """Return the payload as it claims to be, to find out whom to ask; ``InvalidToken`` if none."""
    _header(token)
    segment = token.split(".")[1]
    try:
        found = msgspec.json.decode(urlsafe_b64decode(segment + "=" * (-len(segment) % 4)))
    except (Base64Error, ValueError, RecursionError) as error:
        raise InvalidToken("the token's payload can't be read") from error
    if not isinstance(found, dict):
        raise InvalidToken("the token's payload is no object")
    return found


def sign(payload: bytes, key: SigningKey, kind: str) -> str:
    """Return a token of this payload, with the header members ``typ``, ``alg`` and ``kid``."""
    return _jws.encode(
        payload, key.private, algorithm=key.algorithm, headers={"typ": kind, "kid": key.kid}
    )
