"""Accounts of the registry itself: users with passwords, their access tokens, robot accounts."""

from typing import Protocol

from auth.chain import Authenticator, AuthenticatorUnavailable
from auth.credentials import Basic, Credentials
from auth.identity import Identity
from auth.passwords import TooBusy


class LocalCredentials(Protocol):
    """Checks secrets that the registry gave out, or took."""

    async def check(self, name: str, secret: str, address: str) -> Identity | None:
        """Return whose the secret is; ``None`` if it is wrong, after the time of a wrong password.

        ``auth.passwords.TooBusy`` under a flood of passwords.
        """
        ...


class LocalAccounts:
    """Knows the registry's own accounts, by any name and password that a client may send."""

    def __init__(self, credentials: LocalCredentials) -> None:
        """Check with ``credentials``."""
        self._credentials = credentials

    async def authenticate(self, credentials: Credentials, address: str) -> Identity | None:
        """See ``Authenticator``. Others may know what is wrong here."""
        if not isinstance(credentials, Basic):
            return None
        try:
            return await self._credentials.check(
                credentials.username, credentials.password, address
            )
        except TooBusy as error:
            raise AuthenticatorUnavailable(str(error), 1) from error


_: type[Authenticator] = LocalAccounts
