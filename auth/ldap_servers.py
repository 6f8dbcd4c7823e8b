"""Servers of one directory: where one does not answer, the next is asked."""

import time
from collections.abc import Callable, Sequence
from typing import Final

from auth.authenticators.ldap import DirectoryUser, Passwords
from auth.chain import AuthenticatorUnavailable

_REST: Final = 30.0
"""Seconds for which a server that did not answer is asked last."""


class Servers:
    """Asks the first of several servers that answers. They hold the same users."""

    def __init__(
        self, servers: Sequence[Passwords], *, pace: Callable[[], float] = time.monotonic
    ) -> None:
        """``servers``, one or more, in the order in which they are preferred."""
        self._servers = servers
        self._pace = pace
        self._rests = [0.0] * len(servers)

    async def user(self, username: str, password: str) -> DirectoryUser:
        """Return whose password it is.

        What one server says counts: ``InvalidCredentials`` is not asked for again elsewhere, or
        each guess would count several times against an account. ``AuthenticatorUnavailable`` where
        none of them says anything.
        """
        now, failed = self._pace(), AuthenticatorUnavailable("no server of the directory is named")
        for number in sorted(range(len(self._servers)), key=lambda each: self._rests[each] > now):
            try:
                return await self._servers[number].user(username, password)
            except AuthenticatorUnavailable as error:
                self._rests[number] = self._pace() + _REST
                failed = error
        raise failed


_: type[Passwords] = Servers
