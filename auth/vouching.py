"""What somebody elsewhere says of credentials, kept for a while.

For a moment, so that it is not asked for every layer; and for longer in case it does not answer:
whoever was known a while ago may go on reading.
"""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from auth.chain import AuthenticatorUnavailable
from auth.credentials import InvalidCredentials
from auth.identity import Identity

_log = logging.getLogger("moorage.auth")

RETRY: Final = 5.0
"""Seconds for which one that did not answer is not asked again."""

REFUSED: Final = 10.0
"""Seconds for which a refusal is kept."""

MOST: Final = 4096
"""Credentials of which something is kept at the most."""

WAITING: Final = 256
"""Credentials about which a question is under way at the most."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """What was said, and when that was asked (``time.monotonic``)."""

    said: Identity | InvalidCredentials
    at: float


class Vouching:
    """Remembers what one that vouches for callers says of each.

    All who want to know the same share one question, and may leave before it is answered.
    """

    def __init__(
        self,
        who: str,
        *,
        fresh: float,
        grace: float,
        at_once: int,
        pace: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take what ``who`` said for true for ``fresh`` seconds.

        Where it does not answer, for ``grace`` seconds, for reading. It is asked ``at_once``
        questions at the most.
        """
        self._who = who
        self._fresh = fresh
        self._grace = max(grace, fresh)
        self._pace = pace
        self._known: OrderedDict[Hashable, _Entry] = OrderedDict()
        # Apart, so that nobody's guesses push out what is known of others.
        self._refused: OrderedDict[Hashable, _Entry] = OrderedDict()
        self._asking: dict[Hashable, asyncio.Task[Identity | InvalidCredentials]] = {}
        self._turns = asyncio.Semaphore(at_once)
        self._silent_until = -float("inf")

    async def identity(self, key: Hashable, ask: Callable[[], Awaitable[Identity]]) -> Identity:
        """Return whose the credentials are that ``key`` stands for, asking where need be.

        ``InvalidCredentials`` and ``AuthenticatorUnavailable`` as ``ask`` raises them.
        """
        said = await self._said(key, ask)
        if isinstance(said, InvalidCredentials):
            raise InvalidCredentials(str(said))
        return said

    async def _said(
        self, key: Hashable, ask: Callable[[], Awaitable[Identity]]
    ) -> Identity | InvalidCredentials:
        refused = self._refused.get(key)
        if refused is not None and self._pace() - refused.at < REFUSED:
            return refused.said
        known = self._known.get(key)
        age = self._pace() - known.at if known is not None else float("inf")
        if known is not None and age < self._fresh:
            self._known.move_to_end(key)
            return known.said
        try:
            return await self._shared(key, ask)
        except AuthenticatorUnavailable as error:
            if known is None or isinstance(known.said, InvalidCredentials) or age >= self._grace:
                raise
            _log.warning("%s does not answer, so some may only read: %s", self._who, error)
            return replace(known.said, confirmed=False)

    async def _shared(
        self, key: Hashable, ask: Callable[[], Awaitable[Identity]]
    ) -> Identity | InvalidCredentials:
        """Ask once for all who wait for the same."""
        task = self._asking.get(key)
        if task is None:
            if self._pace() < self._silent_until:
                raise AuthenticatorUnavailable(f"{self._who} did not answer a moment ago")
            if len(self._asking) >= WAITING:
                raise AuthenticatorUnavailable(f"too many logins wait for {self._who}", 1)
            task = self._asking[key] = asyncio.create_task(self._asked(key, ask))
            task.add_done_callback(partial(self._done, key))
        # Whoever leaves does not take the answer away from the others.
        return await asyncio.shield(task)

    def _done(self, key: Hashable, task: "asyncio.Task[Identity | InvalidCredentials]") -> None:
        self._asking.pop(key, None)
        if not task.cancelled():
            task.exception()  # everybody who wanted to know may have left

    async def _asked(
        self, key: Hashable, ask: Callable[[], Awaitable[Identity]]
    ) -> Identity | InvalidCredentials:
        async with self._turns:
            if self._pace() < self._silent_until:  # since this began to wait
                raise AuthenticatorUnavailable(f"{self._who} did not answer a moment ago")
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


def _keep(where: OrderedDict[Hashable, _Entry], key: Hashable, entry: _Entry) -> None:
    where[key] = entry
    where.move_to_end(key)
    if len(where) > MOST:
        where.popitem(last=False)
