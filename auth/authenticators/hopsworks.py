"""Users of a Hopsworks platform: by its API keys and by its tokens.

Both may come as a password too, since docker knows no other way; the user name is not looked at
then. What the platform says is kept for a while.
"""

import hashlib
import time
from collections.abc import Callable
from typing import Final

from auth.chain import Authenticator
from auth.credentials import (
    ApiKey,
    Basic,
    Bearer,
    Credentials,
    InvalidCredentials,
    looks_like_api_key,
)
from auth.identity import Identity, Kind, Scheme
from auth.jose import InvalidToken, looks_like_token, unverified
from auth.platform import Bearer as Known
from auth.platform import Platform
from auth.roles import PLATFORM_ROLES
from auth.rules import MAX_GROUPS, NoRule, named
from auth.scopes import Scopes
from auth.vouching import Vouching

_AT_ONCE: Final = 16

_READS: Final = Scopes.parse_ceiling("repository:*:pull registry:catalog:*")
"""The most that a key may do which is not for changing environments."""


class PlatformUsers:
    """Knows the users of one platform.

    Each is ``user:<prefix><username>``, in the group ``<prefix><project's id>/<role>`` for each of
    its projects: ``hopsworks/119/data-owner``. There is no group for roles that give nothing.
    """

    def __init__(
        self,
        platform: Platform,
        *,
        issuer: str,
        prefix: str,
        fresh: float,
        grace: float,
        pace: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take what it said for true for ``fresh`` seconds.

        Where it does not answer, for ``grace`` seconds, for reading. ``issuer`` is what its tokens
        say of who issued them.
        """
        self._platform = platform
        self._issuer = issuer
        self._prefix = prefix
        self._vouching = Vouching(
            "the platform", fresh=fresh, grace=grace, at_once=_AT_ONCE, pace=pace
        )

    async def authenticate(self, credentials: Credentials, _address: str) -> Identity | None:
        """See ``Authenticator``."""
        shown = self._shown(credentials)
        if shown is None:
            return None
        credential, scheme = shown
        text = credential.key if isinstance(credential, ApiKey) else credential

        async def ask() -> Identity:
            return self._identity(await self._platform.bearer(credential), credential, scheme)

        key = (hashlib.sha256(text.encode()).digest(), scheme)
        return await self._vouching.identity(key, ask)

    def _shown(self, credentials: Credentials) -> tuple[ApiKey | str, Scheme] | None:
        match credentials:
            case ApiKey():
                return credentials, Scheme.BASIC
            case Basic(_, password) if looks_like_api_key(password):
                return ApiKey(password), Scheme.BASIC
            case Basic(_, text) if self._is_token(text):
                return text, Scheme.BASIC
            case Bearer(text) if self._is_token(text):
                return text, Scheme.BEARER
        return None

    def _is_token(self, text: str) -> bool:
        try:
            return looks_like_token(text) and unverified(text).get("iss") == self._issuer
        except InvalidToken:
            return False

    def _identity(self, known: Known, credential: ApiKey | str, scheme: Scheme) -> Identity:
        key = credential.name if isinstance(credential, ApiKey) else ""
        # An account without projects has no name in the answer, and nothing to be let into either.
        name = known.username or f"unknown.{key or 'token'}"
        roles = [
            f"{project}/{role.strip().lower().replace(' ', '-')}"
            for project, role in known.roles.items()
            if role.strip().lower() in PLATFORM_ROLES
        ]
        if len(roles) > MAX_GROUPS:
            raise InvalidCredentials(f"the account is in more than {MAX_GROUPS} projects")
        try:
            return Identity(
                f"user:{named(self._prefix, name)}",
                Kind.USER,
                frozenset(named(self._prefix, role) for role in roles),
                None if known.pushes else _READS,
                scheme=scheme,
                credential=f"hopsworks:{key}" if key else "hopsworks",
            )
        except NoRule as error:
            raise InvalidCredentials(str(error)) from error


_: type[Authenticator] = PlatformUsers
