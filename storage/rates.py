"""Rate limits: how much of something a name may still take, and how long it has to wait.

The port is asked on the way of every request, so it answers at once, from memory. A driver that is
shared with other processes tells them afterwards what was taken here.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol, final

MAX_NAMES: Final = 65_536
"""Most names that a process keeps: what a client can make up must not fill the memory."""


@dataclass(frozen=True, slots=True)
class Rate:
    """A bucket that holds ``burst`` tokens and gets ``per_second`` new ones."""

    per_second: float
    burst: float

    @property
    def interval(self) -> float:
        """Seconds until a token that was taken is there again."""
        return 1.0 / self.per_second


class RateLimits(Protocol):
    """Buckets by name."""

    def take(self, name: str, rate: Rate, cost: float = 1.0) -> float:
        """Take ``cost`` tokens from the bucket of ``name``, and return 0.0; or take none.

        Then the number of seconds is returned after which they are there. A name has one rate: it
        is the caller's to ask with the same one each time. Never waits, never raises.
        """
        ...

    def wait(self, name: str, rate: Rate) -> float:
        """Return what ``take`` of one token would, and take none."""
        ...


@final
class LocalRates:
    """``RateLimits`` of one process.

    Each bucket is one number: the time at which it will be full again (GCRA). Beyond ``names`` the
    one that was asked for longest ago is forgotten, that is taken for full.
    """

    def __init__(
        self, *, names: int = MAX_NAMES, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """``clock`` gives seconds that never go back."""
        self._most = names
        self._clock = clock
        self._full: OrderedDict[str, float] = OrderedDict()

    def take(self, name: str, rate: Rate, cost: float = 1.0) -> float:
        """See ``RateLimits``."""
        now = self._clock()
        full = max(self._full.get(name, now), now) + cost * rate.interval
        wait = full - now - rate.burst * rate.interval
        # Rounding must not make somebody wait for nothing.
        if wait > 1e-9:
            return wait
        self._full[name] = full
        self._full.move_to_end(name)
        if len(self._full) > self._most:
            self._full.popitem(last=False)
        return 0.0

    def wait(self, name: str, rate: Rate) -> float:
        """See ``RateLimits``."""
        now = self._clock()
        full = max(self._full.get(name, now), now)
        return max(full - now - (rate.burst - 1) * rate.interval, 0.0)

    def set_full(self, name: str, seconds: float) -> None:
        """Say in how many seconds the bucket of ``name`` is full, as others know it."""
        if name in self._full:
            self._full[name] = self._clock() + seconds


_: type[RateLimits] = LocalRates
