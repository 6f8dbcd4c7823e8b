"""Whatever stands where a token should is understood or refused, signed or not."""

import contextlib
import time

import msgspec

from auth.identity import Identity
from auth.jose import InvalidToken, sign, unverified
from auth.keys import KeySet, SigningKey
from auth.scopes import Scopes
from auth.tokens import TokenIssuer, TokenVerifier

_KEYS = KeySet.of(SigningKey.generate("EdDSA"))
_ISSUER = TokenIssuer(lambda: _KEYS, issuer="i", service="s", seconds=300)
_VERIFIER = TokenVerifier(lambda: _KEYS, issuer="i", service="s", most_seconds=300, remember=0)
_NOW = int(time.time())

SEEDS = (
    _ISSUER.issue(
        Identity("user:alice"), Scopes.parse("repository:demo:pull"), {"demo": "p1"}
    ).text.encode(),
    msgspec.json.encode(
        {
            "iss": "i", "aud": ["s", "t"], "sub": "robot:demo/ci", "kind": "robot", "jti": "x",
            "iat": _NOW, "nbf": _NOW, "exp": _NOW + 300, "projects": {"demo": "p1"},
            "access": [{"type": "repository", "name": "demo/env", "actions": ["pull", "push"]}],
            "groups": ["g"], "cid": "c",
        }
    ),
    b"eyJhbGciOiJub25lIn0.e30.",
    b"a.b.c",
)  # fmt: skip


def check(data: bytes) -> None:
    """As a token it can only be the seed itself; as claims, what is taken keeps the bounds."""
    text = data.decode("latin-1")
    try:
        _VERIFIER.verify(text)
        assert data == SEEDS[0]
    except InvalidToken:
        pass
    with contextlib.suppress(InvalidToken):
        unverified(text)
    try:
        found = _VERIFIER.verify(sign(data, _KEYS.signing, "at+jwt"))
    except InvalidToken:
        return
    assert found.identity.name
    assert found.identity.ceiling is not None
    assert found.expires <= _NOW + 3600
