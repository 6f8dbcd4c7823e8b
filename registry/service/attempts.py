"""Slowing down who guesses passwords."""

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from auth.chain import Attempts, TooManyAttempts
from registry.spec.backoff import LONGEST, wait_after
from storage.rates import Rate, RateLimits

MOST: Final = 16_384
"""Most pairs of an account and an address that are remembered."""

ADDRESS: Final = Rate(per_second=2, burst=200)
"""Failed logins of one address, whatever the accounts: many people may sit behind one."""


class LoginAttempts:
    """``auth.chain.Attempts``: a wait that doubles with each failure, and a limit for the address.

    The wait is for an account from one address, so that nobody locks out somebody else by failing
    in their name. It is this process's own; the limit is that of ``rates``. A login that succeeds
    ends the wait. Bearer tokens name no account: nobody guesses those.
    """

    def __init__(
        self, rates: RateLimits, *, clock: Callable[[], float] = time.monotonic, most: int = MOST
    ) -> None:
        """``clock`` gives seconds that never go back."""
        self._rates = rates
        self._clock = clock
        self._most = most
        self._failures: OrderedDict[tuple[str, str], tuple[int, float]] = OrderedDict()
        self.refused = 0

    async def admit(self, address: str, account: str) -> None:
        """See ``Attempts``."""
        _, until = self._failures.get((address, account), (0, 0.0))
        wait = max(until - self._clock(), self._rates.wait(f"login/{address}", ADDRESS))
        if wait > 0:
            self.refused += 1
            raise TooManyAttempts(max(math.ceil(wait), 1))

    async def failed(self, address: str, account: str) -> None:
        """See ``Attempts``."""
        self._rates.take(f"login/{address}", ADDRESS)
        await self.undecided(address, account)

    async def undecided(self, address: str, account: str) -> None:
        """See ``Attempts``."""
        if not account:
            return
        pair = (address, account)
        count, until = self._failures.get(pair, (0, 0.0))
        now = self._clock()
        # Whoever let twice the longest wait pass begins anew.
        count = 1 if count and now - until > 2 * LONGEST else count + 1
        self._failures[pair] = (count, now + wait_after(count))
        self._failures.move_to_end(pair)
        if len(self._failures) > self._most:
            self._failures.popitem(last=False)

    async def succeeded(self, address: str, account: str) -> None:
        """See ``Attempts``."""
        self._failures.pop((address, account), None)


_: type[Attempts] = LoginAttempts
