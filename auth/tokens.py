"""The registry's own access tokens: short-lived, signed, verified without asking anyone.

A token (RFC 9068 in form: ``typ`` is ``at+jwt``) claims

- ``iss``, ``aud``: this registry, and the service that the token is for;
- ``sub``, ``kind``: the caller's name, empty for an anonymous one, and what sort of caller it is;
- ``iat``, ``nbf``, ``exp``, ``jti``: when it is good, in Unix seconds, and its id;
- ``access``: what was granted, as ``[{"type", "name", "actions"}]``;
- ``projects``: the ids of the projects that the granted repositories are in. A project that is
  made anew under an old name has another id, so an old token is no good for it (harbor#22900);
- ``groups``, ``cid``: what the credential said of the caller, and which credential it was.

So a token bounds what its bearer can do; whether the bearer still may is decided anew with each
request. Issuing and verifying are two types, so that what only verifies can't issue.
"""

import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Final

import msgspec

from auth.identity import ANONYMOUS, Identity, Kind, Scheme
from auth.jose import InvalidToken, open_token, sign
from auth.keys import KeySet
from auth.scopes import Scopes

LEEWAY: Final = 600
"""Seconds by which the clocks of replicas may differ: as long as a new key is published.

Nobody else can make a token of the future, so that taking one gives nothing away.
"""

LATE: Final = 60
"""Seconds after its end for which an upload may still count as begun with a token.

Fewer than ``LEEWAY``: who begins one shows the token to the very clock that dates the upload.
"""

GRACE: Final = 7 * 24 * 3600
"""Seconds for which an expired token is still understood, so that an upload can be finished."""

_TYPE: Final = "at+jwt"
_MOST_GROUPS: Final = 256
_REMEMBERED: Final = 4 * 1024 * 1024

KeySource = Callable[[], KeySet]
"""Gives the keys of this moment. The same object as long as they have not changed."""


class _Access(msgspec.Struct, frozen=True):
    type: str
    name: str
    actions: list[str]


_Text = Annotated[str, msgspec.Meta(max_length=512)]


class _Claims(msgspec.Struct, frozen=True, omit_defaults=True):
    iss: str
    aud: str | list[str]
    sub: _Text
    kind: Kind
    iat: int
    nbf: int
    exp: int
    jti: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    access: list[_Access]
    projects: dict[_Text, _Text] = {}
    groups: Annotated[list[_Text], msgspec.Meta(max_length=_MOST_GROUPS)] = []
    cid: _Text = ""


_read_claims: Final = msgspec.json.Decoder(_Claims).decode


class ExpiredToken(InvalidToken):
    """A token of this registry that was good once. ``token`` is what it was good for."""

    def __init__(self, token: "VerifiedToken") -> None:
        super().__init__("the token has expired: ask for a new one")
        self.token = token


@dataclass(frozen=True, slots=True)
class VerifiedToken:
    """What a token says: who its bearer is, and when it is good, in Unix seconds."""

    identity: Identity
    not_before: int
    expires: int

    def was_good_at(self, moment: float) -> bool:
        """Whether the token was good then, clocks aside."""
        return self.not_before - LEEWAY <= moment < self.expires + LATE


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """A new token, and when it was issued and expires, in Unix seconds."""

    text: str
    issued: int
    expires: int


class TokenIssuer:
    """Issues tokens with the present signing key."""

    def __init__(self, keys: KeySource, *, issuer: str, service: str, seconds: int) -> None:
        """Issue tokens of ``issuer`` for ``service`` that are good for so many ``seconds``."""
        self._keys = keys
        self._issuer = issuer
        self._service = service
        self._seconds = seconds

    def issue(
        self, identity: Identity, granted: Scopes, projects: Mapping[str, str]
    ) -> IssuedToken:
        """Return a token for ``identity`` that grants this, in projects with these ids.

        ``ValueError`` for an identity that no token can be made for: one with too many groups.
        """
        if len(identity.groups) > _MOST_GROUPS:
            raise ValueError(f"{identity.name} is in more than {_MOST_GROUPS} groups")
        now = int(time.time())
        claims = _Claims(
            iss=self._issuer,
            aud=self._service,
            sub="" if identity.kind is Kind.ANONYMOUS else identity.name,
            kind=identity.kind,
            iat=now,
            nbf=now,
            exp=now + self._seconds,
            jti=secrets.token_urlsafe(12),
            access=[_Access(each.type, each.name, list(actions)) for each, actions in granted],
            projects=dict(projects),
            groups=sorted(identity.groups),
            cid=identity.credential,
        )
        text = sign(msgspec.json.encode(claims), self._keys().signing, _TYPE)
        return IssuedToken(text, now, claims.exp)


class TokenVerifier:
    """Says whose token it is.

    Tokens that were found good are remembered until they expire, those used last, as long as
    the keys stay the same: a signature takes longer to verify than a manifest to serve.
    """

    def __init__(
        self,
        keys: KeySource,
        *,
        issuer: str,
        service: str,
        most_seconds: int,
        remember: int = _REMEMBERED,
    ) -> None:
        """Take tokens of ``issuer`` for ``service`` that live for at most ``most_seconds``.

        Tokens of ``remember`` characters together are remembered.
        """
        self._keys = keys
        self._issuer = issuer
        self._service = service
        self._most_seconds = most_seconds
        self._remember = remember
        self._verified: OrderedDict[str, VerifiedToken] = OrderedDict()
        self._weight = 0
        self._verified_with: KeySet | None = None

    def remembered(self, text: str) -> Identity | None:
        """Return whose the token is if it was found good before and still is. Quick."""
        found = self._verified.get(text)
        if found is None or time.time() >= found.expires:
            return None
        # What was found good was so with these keys, so there are some.
        if self._keys() is not self._verified_with:
            return None
        self._verified.move_to_end(text)
        return found.identity

    def verify(self, text: str) -> VerifiedToken:
        """Return what the token says.

        ``ExpiredToken`` for one that was good once, ``GRACE`` seconds ago at most; otherwise
        ``InvalidToken``.
        """
        now = time.time()
        keys = self._keys()
        if keys is not self._verified_with:
            self._verified.clear()
            self._weight = 0
            self._verified_with = keys
        found = self._verified.get(text)
        if found is None:
            found = self._read(text, keys, now)
        else:
            self._verified.move_to_end(text)
        if now >= found.expires:
            self._forget(text)
            if now >= found.expires + GRACE:
                raise InvalidToken("the token has expired: ask for a new one")
            raise ExpiredToken(found)
        return found

    def _read(self, text: str, keys: KeySet, now: float) -> VerifiedToken:
        payload = open_token(text, lambda kid: keys.verifying.get(kid or ""))
        try:
            claims = _read_claims(payload)
            ceiling = Scopes.from_access(
                (each.type, each.name, each.actions) for each in claims.access
            )
        except (ValueError, RecursionError) as error:
            raise InvalidToken("the token's claims are not those of this registry") from error
        self._check(claims, now)
        found = VerifiedToken(_identity(claims, ceiling), claims.nbf, claims.exp)
        self._verified[text] = found
        self._weight += len(text)
        while self._weight > self._remember:
            self._forget(next(iter(self._verified)))
        return found

    def _forget(self, text: str) -> None:
        if self._verified.pop(text, None) is not None:
            self._weight -= len(text)

    def _check(self, claims: _Claims, now: float) -> None:
        audience = [claims.aud] if isinstance(claims.aud, str) else claims.aud
        if claims.iss != self._issuer:
            raise InvalidToken("the token was issued by another issuer")
        if self._service not in audience:
            raise InvalidToken("the token is for another service")
        if not claims.iat <= claims.exp <= claims.iat + self._most_seconds:
            raise InvalidToken("the token is good for longer than this registry issues any")
        if max(claims.nbf, claims.iat) > now + LEEWAY:
            raise InvalidToken("the token is not good yet: check the clocks")


def _identity(claims: _Claims, ceiling: Scopes) -> Identity:
    anonymous = claims.kind is Kind.ANONYMOUS
    if anonymous == bool(claims.sub) or claims.kind is Kind.SYSTEM:
        raise InvalidToken("the token's subject is none that this registry issues tokens for")
    return Identity(
        ANONYMOUS.name if anonymous else claims.sub,
        claims.kind,
        frozenset(claims.groups),
        ceiling,
        claims.projects,
        Scheme.BEARER,
        claims.cid,
    )
