"""Sessions of browsers: who logged in, signed by the registry, kept in a cookie and nowhere else.

A session (``typ`` is ``session+jwt``, so that none is taken for an access token, nor one of these
for a session) says who somebody is, for how long, and how far the credential reached. What its
holder may do is decided anew with each request, and whether it still stands is too, as far as the
registry knows: a blocked account ends its sessions at once, and so does a changed password or a
revoked secret of the registry's own. Others (an identity provider, LDAP, a platform) are not asked
again: what is changed or revoked there counts when the session has ended.
"""

import secrets
import time
import zlib
from dataclasses import dataclass
from typing import Annotated, Final

import msgspec

from auth.credentials import InvalidCredentials
from auth.identity import Identity, Kind, Scheme
from auth.jose import InvalidToken, open_token, sign
from auth.keys import KeySet
from auth.scopes import Scopes
from auth.tokens import LEEWAY, KeySource

MAX_SESSION: Final = 3800
"""Longest session, in characters: browsers drop a cookie of more than 4096 without a word."""

_TYPE: Final = "session+jwt"
_AUDIENCE: Final = "console"
_MOST_CLAIMS: Final = 256 * 1024
_REMEMBERED: Final = 256

_Text = Annotated[str, msgspec.Meta(max_length=512)]


class _Claims(msgspec.Struct, frozen=True, omit_defaults=True):
    """``cid`` and ``ceiling`` are of the credential that was shown; ``None``: it had no ceiling."""

    iss: str
    aud: str
    sub: Annotated[str, msgspec.Meta(min_length=1, max_length=512)]
    kind: Kind
    iat: int
    exp: int
    jti: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    groups: list[_Text] = []
    cid: _Text = ""
    ceiling: str | None = None


_read_claims: Final = msgspec.json.Decoder(_Claims).decode


@dataclass(frozen=True, slots=True)
class BrowserSession:
    """A new session, and for how many seconds it is good."""

    text: str
    seconds: int


class BrowserSessions:
    """Begins sessions, and says whose they are."""

    def __init__(self, keys: KeySource, *, issuer: str, seconds: int) -> None:
        """Sign with the present one of ``keys``; a session is good for so many ``seconds``."""
        self._keys = keys
        self._issuer = issuer
        self._seconds = seconds
        self._known: dict[str, tuple[Identity, float]] = {}
        self._known_by: KeySet | None = None

    def begin(self, identity: Identity) -> BrowserSession:
        """Return a session of a caller whose credentials are good.

        ``InvalidCredentials`` for one that no cookie could hold: with very many groups.
        """
        now = int(time.time())
        claims = _Claims(
            iss=self._issuer,
            aud=_AUDIENCE,
            sub=identity.name,
            kind=identity.kind,
            iat=now,
            exp=now + self._seconds,
            jti=secrets.token_urlsafe(12),
            groups=sorted(identity.groups),
            cid=identity.credential,
            ceiling=None if identity.ceiling is None else str(identity.ceiling),
        )
        # Names of groups are much alike, and somebody may be in hundreds of them.
        payload = zlib.compress(msgspec.json.encode(claims), 9)
        text = sign(payload, self._keys().signing, _TYPE)
        if len(text) > MAX_SESSION:
            raise InvalidCredentials(
                "a browser can't hold all of your groups: log in with a token that names fewer"
            )
        return BrowserSession(text, self._seconds)

    def read(self, text: str) -> Identity:
        """Return whose session it is; ``InvalidToken`` if it is none, or is over.

        It is the same object for as long as the session is remembered, as decisions about it are.
        """
        keys = self._keys()
        if keys is not self._known_by:
            self._known, self._known_by = {}, keys
        identity, ends = self._known.get(text) or self._open(text, keys)
        if time.time() >= ends:
            self._known.pop(text, None)
            raise InvalidToken("the session is over: log in again")
        self._known[text] = identity, ends
        if len(self._known) > _REMEMBERED:
            del self._known[next(iter(self._known))]
        return identity

    def _open(self, text: str, keys: KeySet) -> tuple[Identity, float]:
        payload = open_token(text, lambda kid: keys.verifying.get(kid or ""), (_TYPE,))
        try:
            claims = _read_claims(_inflated(payload))
            ceiling = None if claims.ceiling is None else Scopes.parse_ceiling(claims.ceiling)
        except (ValueError, RecursionError, zlib.error) as error:
            raise InvalidToken("the session's claims are not those of this registry") from error
        if claims.iss != self._issuer or claims.aud != _AUDIENCE:
            raise InvalidToken("the session was begun elsewhere")
        if claims.kind in (Kind.ANONYMOUS, Kind.SYSTEM):
            raise InvalidToken("the session is nobody's")
        if claims.iat - LEEWAY > time.time():
            raise InvalidToken("the session is not good yet: check the clocks")
        identity = Identity(
            claims.sub,
            claims.kind,
            frozenset(claims.groups),
            ceiling,
            None,
            Scheme.SESSION,
            claims.cid,
        )
        # Not by what it says alone: a shorter time that was set since then counts at once.
        return identity, min(claims.exp, claims.iat + self._seconds)


def _inflated(payload: bytes) -> bytes:
    inflate = zlib.decompressobj()
    return inflate.decompress(payload, _MOST_CLAIMS)
