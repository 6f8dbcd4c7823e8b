"""The token protocol: what clients ask a token service for, read from a query or a form.

Docker's token specification (GET with Basic), its OAuth2 variant (POST; RFC 6749 §4.3 and §6) and
token exchange (RFC 8693). Everything is written as a form, in queries too: Go's clients write a
space as a plus sign there.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from registry.spec.errors import TokenRequestInvalid
from registry.spec.query import read_form, single

MAX_FORM = 64 * 1024
"""Longest form, in bytes: a token may be 16 KiB, and the scopes twice that."""

_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
_TOKEN_TYPES = (
    "urn:ietf:params:oauth:token-type:jwt",
    "urn:ietf:params:oauth:token-type:id_token",
    "urn:ietf:params:oauth:token-type:access_token",
)
ACCESS_TOKEN_TYPE = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105  a name
_TRUE = ("true", "1")


class Grant(StrEnum):
    """What the client shows in exchange for a token."""

    HEADER = "header"
    """Whatever its `Authorization` header or its certificate says; nothing, to be anonymous."""

    PASSWORD = "password"  # noqa: S105  a name
    REFRESH_TOKEN = "refresh_token"  # noqa: S105  a name
    EXCHANGE = "exchange"


class TokenRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One request for a token. `secret` is the password or token that the grant needs.

    `scopes` are texts as they came. `offline`: a token to refresh with is wanted too.
    """

    grant: Grant
    username: str = ""
    secret: str = ""
    service: str = ""
    scopes: tuple[str, ...] = ()
    offline: bool = False
    client: str = ""

    def __repr__(self) -> str:
        """Show everything but the secret."""
        return f"TokenRequest({self.grant}, {self.username!r}, {self.scopes!r})"


def read_query(text: str) -> TokenRequest:
    """Read the query of a GET; raise TokenRequestInvalid when it is malformed."""
    return _request(_Fields(text), Grant.HEADER)


def read_body(text: str) -> TokenRequest:
    """Read the form of a POST; raise TokenRequestInvalid when something is missing or malformed.

    What is raised repeats nothing of the form: a slip of a client puts passwords anywhere.
    """
    fields = _Fields(text)
    match fields.get("grant_type"):
        case "password":
            return _request(
                fields,
                Grant.PASSWORD,
                username=fields.needed("username"),
                secret=fields.needed("password"),
            )
        case "refresh_token":
            return _request(fields, Grant.REFRESH_TOKEN, secret=fields.needed("refresh_token"))
        case str(kind) if kind == _EXCHANGE:
            return _exchange(fields)
        case "":
            raise TokenRequestInvalid("the form field grant_type is missing")
        case _:
            raise TokenRequestInvalid(
                f"this grant_type is not known here: use password, refresh_token or {_EXCHANGE}",
                "unsupported_grant_type",
            )


def read_revocation(text: str) -> str:
    """Read the form of a revocation (RFC 7009 §2.1); give the token that is to be revoked."""
    return _Fields(text).needed("token")


def _exchange(fields: _Fields) -> TokenRequest:
    secret = fields.needed("subject_token")
    kind = fields.needed("subject_token_type")
    if kind not in _TOKEN_TYPES:
        raise TokenRequestInvalid(f"use the subject_token_type {_TOKEN_TYPES[0]}")
    if fields.get("requested_token_type") not in ("", ACCESS_TOKEN_TYPE):
        raise TokenRequestInvalid("only access tokens are issued here: see requested_token_type")
    if fields.get("actor_token"):
        raise TokenRequestInvalid("nobody acts for another here: leave out actor_token")
    return _request(
        fields,
        Grant.EXCHANGE,
        secret=secret,
        service=fields.get("service") or fields.get("audience"),
    )


def _request(fields: _Fields, grant: Grant, **known: str) -> TokenRequest:
    known.setdefault("service", fields.get("service"))
    return TokenRequest(
        grant=grant,
        scopes=fields.all("scope"),
        offline=fields.get("offline_token") in _TRUE or fields.get("access_type") == "offline",
        client=fields.get("client_id"),
        **known,
    )


class _Fields:
    """The fields of a form. All but `scope` may be given once: readers differ on which counts."""

    def __init__(self, text: str) -> None:
        if len(text) > MAX_FORM:
            raise TokenRequestInvalid(f"the form is longer than {MAX_FORM} bytes")
        self._values = read_form(text, TokenRequestInvalid)

    def get(self, name: str) -> str:
        return single(self._values, name, _twice) or ""

    def needed(self, name: str) -> str:
        value = self.get(name)
        if not value:
            raise TokenRequestInvalid(f"the form field {name} is missing")
        return value

    def all(self, name: str) -> tuple[str, ...]:
        return tuple(self._values.get(name, ()))


def _twice(name: str) -> TokenRequestInvalid:
    return TokenRequestInvalid(f"the form field {name} is given more than once")
