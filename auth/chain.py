"""The chain of authenticators, which finds out whose credentials it was shown."""

import logging
from collections.abc import Sequence
from typing import Protocol

from auth.credentials import (
    Basic,
    Credentials,
    InvalidCredentials,
    issued_secret,
    looks_like_api_key,
)
from auth.identity import Identity
from auth.jose import looks_like_token

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
    """Slows down who guesses. ``address`` is the client's; ``account`` is what it wants to be.

    Of a secret that the registry gave out, ``account`` names the secret too.
    """

    async def admit(self, address: str, account: str) -> None:
        """Raise ``TooManyAttempts`` if the next attempt has to wait."""
        ...

    async def failed(self, address: str, account: str) -> None:
        """Count a failed attempt."""
        ...

    async def undecided(self, address: str, account: str) -> None:
        """Count an attempt of which nobody could say whether it failed.

        The account has to wait for it, as seen from the address; others from there do not.
        """
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

    async def undecided(self, address: str, account: str) -> None:
        """Count nothing."""

    async def succeeded(self, address: str, account: str) -> None:
        """Forget nothing."""


class Chain:
    """Asks authenticators in order; the first that knows the kind of credentials decides.

    One that can't find out keeps nobody away whom another knows: an administrator's own password is
    good while the directory of all others is down.
    """

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
        account = _account(credentials)
        await self._attempts.admit(address, account)
        try:
            identity = await self._ask(credentials, address)
        except InvalidCredentials as error:
            _log.info("a login from %s as %a failed: %s", address, account, error)
            await self._attempts.failed(address, account)
            raise
        except AuthenticatorUnavailable:
            if _guessable(credentials):
                # It was wrong for all who could say: else whoever guesses would wait for an outage.
                # Yet it may be right, as those of many behind one address are.
                await self._attempts.undecided(address, account)
            raise
        await self._attempts.succeeded(address, account)
        return identity

    async def _ask(self, credentials: Credentials, address: str) -> Identity:
        unavailable: AuthenticatorUnavailable | None = None
        for authenticator in self._authenticators:
            try:
                identity = await authenticator.authenticate(credentials, address)
            except AuthenticatorUnavailable as error:
                unavailable = unavailable or error
                continue
            if identity is not None:
                return identity
        raise unavailable or InvalidCredentials


def _account(credentials: Credentials) -> str:
    """What has to wait after failures: an account, or one of the secrets that it was given.

    A node goes on for a while to show a pull secret that was replaced: that must not keep the new
    one of the same robot waiting. Nobody guesses these (256 random bits).
    """
    if not isinstance(credentials, Basic):
        return ""
    issued = issued_secret(credentials.password)
    return f"{credentials.username}\t{issued[1]}" if issued else credentials.username


def _guessable(credentials: Credentials) -> bool:
    """Whether it is a password that somebody chose."""
    if not isinstance(credentials, Basic):
        return False
    secret = credentials.password
    return not (looks_like_token(secret) or looks_like_api_key(secret))


_: type[Attempts] = Unlimited
