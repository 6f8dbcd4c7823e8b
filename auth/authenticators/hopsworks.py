"""Users of a Hopsworks platform: by its API keys and by its tokens.

Both may come as a password too, since docker knows no other way; the user name is not looked at
then. What the platform says is kept for a moment, so that it is not asked for every layer, and for
longer in case it does not answer: whoever was known a while ago may go on reading.
"""

import asyncio
import hashlib
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from auth.chain import Authenticator, AuthenticatorUnavailable
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

_log = logging.getLogger("moorage.auth")

RETRY: Final = 5.0
"""Seconds for which a platform that did not answer is not asked again."""

_REFUSED: Final = 10.0
"""Seconds for which a refusal is kept."""

_MOST: Final = 4096
"""Credentials of which something is kept at the most."""

_AT_ONCE: Final = 16
_WAITING: Final = 256

_READS: Final = Scopes.parse_ceiling("repository:*:pull registry:catalog:*")
"""The most that a key may do which is not for changing environments."""


_Key = tuple[bytes, Scheme]


@dataclass(frozen=True, slots=True)
class _Entry:
    """What was said, and when that was asked (``time.monotonic``)."""

    said: Identity | InvalidCredentials
    at: float


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
        self._fresh = fresh
        self._grace = max(grace, fresh)
        self._pace = pace
        self._known: OrderedDict[_Key, _Entry] = OrderedDict()
        # Apart, so that nobody's guesses push out what is known of others.
        self._refused: OrderedDict[_Key, _Entry] = OrderedDict()
        self._asking: dict[_Key, asyncio.Task[Identity | InvalidCredentials]] = {}
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._silent_until = -float("inf")

    async def authenticate(self, credentials: Credentials, _address: str) -> Identity | None:
        """See ``Authenticator``."""
        shown = self._shown(credentials)
        if shown is None:
            return None
        said = await self._said(*shown)
        if isinstance(said, InvalidCredentials):
            raise InvalidCredentials(str(said))
        return said

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

    async def _said(
        self, credential: ApiKey | str, scheme: Scheme
    ) -> Identity | InvalidCredentials:
        text = credential.key if isinstance(credential, ApiKey) else credential
        key = (hashlib.sha256(text.encode()).digest(), scheme)
        refused = self._refused.get(key)
        if refused is not None and self._pace() - refused.at < _REFUSED:
            return refused.said
        known = self._known.get(key)
        age = self._pace() - known.at if known is not None else float("inf")
        if known is not None and age < self._fresh:
            self._known.move_to_end(key)
            return known.said

        async def ask() -> Identity:
            return self._identity(await self._platform.bearer(credential), credential, scheme)

        try:
            return await self._shared(key, ask)
        except AuthenticatorUnavailable as error:
            if known is None or isinstance(known.said, InvalidCredentials) or age >= self._grace:
                raise
            _log.warning("the platform does not answer, so some may only read: %s", error)
            return replace(known.said, confirmed=False)

    async def _shared(
        self, key: _Key, ask: Callable[[], Awaitable[Identity]]
    ) -> Identity | InvalidCredentials:
        """Ask once for all who wait for the same."""
        task = self._asking.get(key)
        if task is None:
            if self._pace() < self._silent_until:
                raise AuthenticatorUnavailable("the platform did not answer a moment ago")
            if len(self._asking) >= _WAITING:
                raise AuthenticatorUnavailable("too many logins wait for the platform", 1)
            task = self._asking[key] = asyncio.create_task(self._asked(key, ask))
            task.add_done_callback(partial(self._done, key))
        # Whoever leaves does not take the answer away from the others.
        return await asyncio.shield(task)

    def _done(self, key: _Key, task: "asyncio.Task[Identity | InvalidCredentials]") -> None:
        self._asking.pop(key, None)
        if not task.cancelled():
            task.exception()  # everybody who wanted to know may have left

    async def _asked(
        self, key: _Key, ask: Callable[[], Awaitable[Identity]]
    ) -> Identity | InvalidCredentials:
        async with self._turns:
            began = self._pace()
            try:
                said = await ask()
            except InvalidCredentials as error:
                self._known.pop(key, None)
                _keep(self._refused, key, _Entry(error.with_traceback(None), began))
                return error
            except AuthenticatorUnavailable:
                self._silent_until = self._pace() + RETRY
                raise
        self._refused.pop(key, None)
        _keep(self._known, key, _Entry(said, began))
        return said


def _keep(where: OrderedDict[_Key, _Entry], key: _Key, entry: _Entry) -> None:
    where[key] = entry
    where.move_to_end(key)
    if len(where) > _MOST:
        where.popitem(last=False)


_: type[Authenticator] = PlatformUsers
