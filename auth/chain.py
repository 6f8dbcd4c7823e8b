"""The chain of authenticators, which finds out whose credentials it was shown."""

import logging
from collections.abc import Sequence
from typing import Protocol

from auth.credentials import Basic, Credentials, InvalidCredentials
from auth.identity import Identity

_log = logging.getLogger("moorage.auth")


class AuthenticatorUnavailable(Exception):
    """What an authenticator has to ask does not answer: nothing is known of the credentials.

    ``retry_after`` is in seconds. The message is for the log.
    """

    def __init__(self, message: str, retry_after: int = 5) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class TooManyAttempts(Exception):
    """The caller has to wait before it may try again; ``retry_after`` is in seconds."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"too many failed logins: wait {retry_after} seconds")
        self.retry_after = retry_after


class Authenticator(Protocol):
    """Knows one kind of credentials."""

    async def authenticate(self, credentials: Credentials, address: str) -> Identity | None:
        """Return who showed these, from ``address``, or ``None`` if it does not know them.

        ``InvalidCredentials`` if they are of this kind and wrong: nobody else is asked then.
        ``AuthenticatorUnavailable`` where that can't be found out now.
        """
        ...


class Attempts(Protocol):
    """Slows down who guesses. ``address`` is the client's; ``account`` is what it wants to be."""

    async def admit(self, address: str, account: str) -> None:
        """Raise ``TooManyAttempts`` if the next attempt has to wait."""
        ...

    async def failed(self, address: str, account: str) -> None:
        """Count a failed attempt."""
        ...

    async def succeeded(self, address: str, account: str) -> None:
        """Forget the failed attempts on the account."""
        ...


class Unlimited:
    """Lets everybody try as often as they like."""

    async def admit(self, address: str, account: str) -> None:
        """Let it try."""

    async def failed(self, address: str, account: str) -> None:
        """Count nothing."""

    async def succeeded(self, address: str, account: str) -> None:
        """Forget nothing."""


class Chain:
    """Asks authenticators in order; the first that knows the kind of credentials decides."""

    def __init__(
        self, authenticators: Sequence[Authenticator], attempts: Attempts | None = None
    ) -> None:
        """Ask ``authenticators``; ``attempts`` hears how each login went."""
        self._authenticators = authenticators
        self._attempts = attempts or Unlimited()

    async def authenticate(self, credentials: Credentials, address: str) -> Identity:
        """Return who showed these credentials, from this address.

        ``InvalidCredentials``, ``AuthenticatorUnavailable``, ``TooManyAttempts``.
        """
        account = credentials.username if isinstance(credentials, Basic) else ""
        await self._attempts.admit(address, account)
        try:
            identity = await self._ask(credentials, address)
        except InvalidCredentials as error:
            _log.info("a login from %s as %a failed: %s", address, account, error)
            await self._attempts.failed(address, account)
            raise
        await self._attempts.succeeded(address, account)
        return identity

    async def _ask(self, credentials: Credentials, address: str) -> Identity:
        for authenticator in self._authenticators:
            identity = await authenticator.authenticate(credentials, address)
            if identity is not None:
                return identity
        raise InvalidCredentials


_: type[Attempts] = Unlimited
