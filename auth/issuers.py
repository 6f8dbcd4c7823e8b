"""Other issuers of tokens that this registry trusts: identity providers, clusters, CI systems.

Which they are, the configuration says; a token only says which of them to ask. Their keys come from
the address that they publish it under (OpenID Connect Discovery 1.0), from one that the
configuration names, or from a file.
"""

import asyncio
import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Protocol
from urllib.parse import urlsplit

import msgspec

from auth.chain import AuthenticatorUnavailable
from auth.files import Changes
from auth.jose import InvalidToken, key_id, open_token
from auth.keys import KeyUnusable, VerifyingKey, read_jwks

_log = logging.getLogger("moorage.auth")

LEEWAY: Final = 60
"""Seconds by which an issuer's clock may differ."""

FRESH: Final = 3600
"""Seconds after which a set of keys is fetched again, while the old one is used."""

STALE: Final = 24 * 3600
"""Seconds after which a set that could not be fetched again is not used any more."""

RETRY: Final = 10
"""Seconds between two attempts to fetch a set, however many unknown keys tokens name."""

_Bounds: Final = msgspec.Meta(ge=0, le=1 << 53)
_Number = Annotated[int, _Bounds] | Annotated[float, _Bounds]


class FetchFailed(Exception):
    """The document could not be had. The message names its address and says why."""


class Fetch(Protocol):
    """Gets a document from an address."""

    async def __call__(self, url: str) -> bytes:
        """Return the document; ``FetchFailed``."""
        ...


class IssuerKeys(Protocol):
    """The keys of an issuer."""

    async def get(self, kid: str | None) -> VerifyingKey | None:
        """Return the key with this id, or the only one there is where a token names none.

        ``AuthenticatorUnavailable`` where the keys can't be had.
        """
        ...


class _Discovery(msgspec.Struct):
    issuer: str
    jwks_uri: str


_read_discovery: Final = msgspec.json.Decoder(_Discovery).decode


class PublishedKeys:
    """Keys that an issuer publishes, fetched when they are needed and kept for a while.

    An unknown key makes it look again (keys rotate), but not more often than every ``RETRY``
    seconds, whoever asks. Requests that wait for the same look share it.
    """

    def __init__(self, issuer: str, fetch: Fetch, *, jwks_url: str = "") -> None:
        """Fetch the keys of ``issuer``: from ``jwks_url``, or from where its discovery says."""
        self._issuer = issuer
        self._fetch = fetch
        self._url = jwks_url
        self._keys: dict[str, VerifyingKey] = {}
        self._fetched = -float("inf")
        self._tried = -float("inf")
        self._looking: asyncio.Task[None] | None = None

    async def get(self, kid: str | None) -> VerifyingKey | None:
        """See ``IssuerKeys``."""
        now = time.monotonic()
        age = now - self._fetched
        found = _choose(self._keys, kid) if age < STALE else None
        if found is not None and age < FRESH:
            return found
        if now - self._tried >= RETRY:
            looking = self._look()
            if found is None:
                await asyncio.shield(looking)
        elif found is None and self._looking is not None:
            await asyncio.shield(self._looking)
        if time.monotonic() - self._fetched >= STALE:
            raise AuthenticatorUnavailable(f"the keys of {self._issuer} can't be had")
        return _choose(self._keys, kid)

    def _look(self) -> "asyncio.Task[None]":
        self._tried = time.monotonic()
        self._looking = asyncio.create_task(self._read())
        self._looking.add_done_callback(self._looked)
        return self._looking

    def _looked(self, _: object) -> None:
        self._looking = None

    async def _read(self) -> None:
        try:
            url = self._url or await self._discover()
            self._keys = read_jwks(await self._fetch(url))
        except (FetchFailed, KeyUnusable) as error:
            _log.warning("the keys of %s could not be fetched: %s", self._issuer, error)
        else:
            self._fetched = time.monotonic()

    async def _discover(self) -> str:
        """Return where the issuer says that its keys are; on its own host, nowhere else."""
        url = self._issuer.rstrip("/") + "/.well-known/openid-configuration"
        try:
            found = _read_discovery(await self._fetch(url))
        except (ValueError, RecursionError) as error:
            raise FetchFailed(f"{url}: this is no discovery document: {error}") from error
        if found.issuer != self._issuer:
            raise FetchFailed(f"{url}: it speaks for another issuer")
        own, theirs = urlsplit(self._issuer), urlsplit(found.jwks_uri)
        if (own.scheme, own.netloc) != (theirs.scheme, theirs.netloc):
            raise FetchFailed(
                f"{url}: its keys are on another host: if that is right, set jwks_url"
            )
        return found.jwks_uri


class FileKeys:
    """Keys from a file, read anew when it changes: for clusters that can't be asked."""

    def __init__(self, path: Path) -> None:
        """Read the file. ``KeyUnusable`` says what is wrong with it."""
        self._path = path
        self._changes = Changes([path])
        self._keys = self._read()

    async def get(self, kid: str | None) -> VerifyingKey | None:
        """See ``IssuerKeys``."""
        return _choose(self._keys, kid)

    async def reload(self) -> None:
        """Read the file again if it has changed. If it can't be used, the old keys stay."""
        if await asyncio.to_thread(self._changes.any):
            try:
                self._keys = await asyncio.to_thread(self._read)
            except KeyUnusable as error:
                _log.error("the new keys are not used, the old ones still are: %s", error)

    def _read(self) -> dict[str, VerifyingKey]:
        try:
            return read_jwks(self._path.read_bytes())
        except OSError as error:
            raise KeyUnusable(f"{self._path}: can't be read: {error.strerror}") from error
        except KeyUnusable as error:
            raise KeyUnusable(f"{self._path}: {error}") from error


def _choose(keys: dict[str, VerifyingKey], kid: str | None) -> VerifyingKey | None:
    if kid is None:
        return next(iter(keys.values())) if len(keys) == 1 else None
    return keys.get(kid)


class _Standard(msgspec.Struct):
    iss: str
    aud: str | list[str]
    exp: _Number
    iat: _Number = 0
    nbf: _Number = 0


_read_standard: Final = msgspec.json.Decoder(_Standard).decode


class TrustedIssuer:
    """Verifies the tokens of one issuer."""

    def __init__(
        self, issuer: str, audiences: Sequence[str], keys: IssuerKeys, *, longest_seconds: float
    ) -> None:
        """Take tokens of ``issuer`` for one of ``audiences``, none that lives for longer."""
        self.issuer = issuer
        self._audiences = frozenset(audiences)
        self._keys = keys
        self._longest = longest_seconds

    async def claims(self, token: str) -> dict[str, Any]:
        """Return what the token claims; ``InvalidToken``, ``AuthenticatorUnavailable``."""
        key = await self._keys.get(key_id(token))
        payload = open_token(token, lambda _: key)
        try:
            standard = _read_standard(payload)
            claims: dict[str, Any] = msgspec.json.decode(payload, type=dict[str, Any])
        except (ValueError, RecursionError) as error:
            raise InvalidToken("the token lacks a claim that it needs: iss, aud, exp") from error
        self._check(standard, time.time())
        return claims

    def _check(self, claims: _Standard, now: float) -> None:
        audiences = [claims.aud] if isinstance(claims.aud, str) else claims.aud
        if claims.iss != self.issuer:
            raise InvalidToken("the token was issued by another issuer")
        if self._audiences.isdisjoint(audiences):
            raise InvalidToken("the token is for another audience")
        if claims.exp <= now - LEEWAY:
            raise InvalidToken("the token has expired")
        if claims.exp > now + self._longest:
            raise InvalidToken("the token lives longer than is allowed here")
        if max(claims.iat, claims.nbf) > now + LEEWAY:
            raise InvalidToken("the token is not good yet: check the clocks")
