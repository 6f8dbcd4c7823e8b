"""Users of a directory, by the passwords that they have there."""

import contextlib
import logging
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from hashlib import blake2b
from re import Pattern
from typing import Protocol

from auth.chain import Authenticator
from auth.credentials import Basic, Credentials, InvalidCredentials, looks_like_api_key
from auth.identity import Identity, Kind, Scheme
from auth.jose import looks_like_token
from auth.passwords import MAX_SECRET
from auth.rules import NoRule, named
from auth.vouching import Vouching

_log = logging.getLogger("moorage.auth")

_OWN = "mrg_"
"""What the registry's own secrets begin with: no directory is shown one."""


class DirectoryUser(Protocol):
    """What a directory says of a user."""

    @property
    def name(self) -> str:
        """The one name that it has there."""
        ...

    @property
    def groups(self) -> Sequence[str]:
        """The names of its groups."""
        ...


class Passwords(Protocol):
    """Checks names and passwords."""

    async def user(self, username: str, password: str) -> DirectoryUser:
        """Return whose they are; ``InvalidCredentials``, ``AuthenticatorUnavailable``."""
        ...


class DirectoryUsers:
    """Knows the users of one directory.

    Each is ``user:<prefix><name>``, in the groups ``<prefix><group>``. What the directory said is
    kept for a while, by a hash of name and password that is keyed in this process.
    """

    def __init__(
        self,
        directory: Passwords,
        *,
        prefix: str,
        fresh: float,
        grace: float,
        at_once: int,
        only: Sequence[Pattern[str]] = (),
        pace: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take what it said for true for ``fresh`` seconds.

        Where it does not answer, for ``grace`` seconds, for reading. Of the groups those count that
        one of ``only`` matches; all of them if there is none.
        """
        self._directory = directory
        self._prefix = prefix
        self._only = only
        self._key = secrets.token_bytes(32)
        self._vouching = Vouching(
            "the directory", fresh=fresh, grace=grace, at_once=at_once, pace=pace
        )

    async def authenticate(self, credentials: Credentials, _address: str) -> Identity | None:
        """See ``Authenticator``. Others may know a user, or a password, that is wrong here."""
        if not isinstance(credentials, Basic) or not _may_be_password(credentials):
            return None
        name, password = credentials.username, credentials.password

        async def ask() -> Identity:
            return self._identity(await self._directory.user(name, password))

        pair = f"{len(name)} {name}{password}".encode("utf-8", "surrogatepass")
        try:
            return await self._vouching.identity(blake2b(pair, key=self._key).digest(), ask)
        except InvalidCredentials as error:
            _log.info("the directory lets nobody in as %a: %s", name, error)
            return None

    def _identity(self, found: DirectoryUser) -> Identity:
        try:
            name = named(self._prefix, found.name)
        except NoRule as error:
            raise InvalidCredentials(str(error)) from error
        groups = frozenset(self._groups(found.groups))
        return Identity(f"user:{name}", Kind.USER, groups, scheme=Scheme.BASIC, credential="ldap")

    def _groups(self, groups: Sequence[str]) -> Iterator[str]:
        """Yield those that count. One with a blank in its name can be no member of anything."""
        for group in groups:
            if not self._only or any(each.fullmatch(group) for each in self._only):
                with contextlib.suppress(NoRule):
                    yield named(self._prefix, group)


def _may_be_password(shown: Basic) -> bool:
    """Whether somebody may have it as a password in a directory.

    An empty one never: a directory takes it for no login at all (RFC 4513, section 5.1.2). And
    secrets of other kinds are nobody else's business.
    """
    secret = shown.password
    return (
        0 < len(secret) <= MAX_SECRET
        and shown.username != ""
        and not secret.startswith(_OWN)
        and not looks_like_token(secret)
        and not looks_like_api_key(secret)
    )


_: type[Authenticator] = DirectoryUsers
