"""Rate limits that all processes of one Redis share.

Decisions are local; what was taken is told to Redis every ``PERIOD`` seconds, which adds it up and
says how full the bucket is for all. So no request waits for Redis, and none fails without it: it is
then as if this were the only process. The price: within one period, each process may let through
what the others have used up; ``n`` processes admit at most ``n - 1`` periods' worth too much.

Buckets have a connection of their own, so that a flood of clients does not delay coordination.
"""

import asyncio
from contextlib import suppress
from hashlib import blake2b
from types import TracebackType
from typing import Any, Final, Self, final

from storage._redis_link import Link
from storage._redis_primary import Primary, Session
from storage.coordination import CoordinationUnavailable
from storage.rates import LocalRates, Rate, RateLimits
from storage.redis_address import RedisAccess, RedisAddress

PERIOD: Final = 0.1
"""Seconds between two exchanges with Redis."""

_BATCH: Final = 512
"""Most buckets of one exchange: what is more waits for the next, and is decided on locally."""

_PENDING: Final = 16_384
"""Most buckets whose use is remembered for Redis while it is away."""

# The time at which the bucket is full, by the server's clock: many clocks would disagree.
_TAKE: Final = """
local t = redis.call('TIME')
local now = t[1] + t[2] / 1000000
local full = tonumber(redis.call('GET', KEYS[1]) or now)
if full < now then full = now end
full = full + tonumber(ARGV[1])
redis.call('SET', KEYS[1], string.format('%.6f', full), 'PX', math.ceil((full - now) * 1000) + 1000)
return string.format('%.6f', full - now)
"""


class _Silent:
    """A link's listener that says nothing: coordination's own tells of Redis."""

    def connected(self, session: Session) -> None: ...

    def disconnected(self, reason: str) -> None: ...

    def round_trip(self, commands: int, seconds: float) -> None: ...


@final
class RedisRates:
    """``RateLimits`` of all processes with the same address and prefix. An async context."""

    def __init__(
        self,
        address: RedisAddress,
        access: RedisAccess,
        *,
        prefix: str = "moorage",
        period: float = PERIOD,
        local: LocalRates | None = None,
    ) -> None:
        """Keep buckets under keys that start with ``prefix``."""
        # The braces put all keys in one hash slot of a Cluster: one connection serves them.
        self._prefix = f"{{{prefix}:rates}}:"
        self._period = period
        self._local = local or LocalRates()
        self._used: dict[str, float] = {}
        self._link = Link(Primary(address, access, self._prefix), _Silent())
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._tasks = [
            asyncio.create_task(self._link.run()),
            asyncio.create_task(self._exchange_for_ever()),
        ]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def shared(self) -> bool:
        """Whether Redis hears of what is taken."""
        return self._link.up

    def take(self, name: str, rate: Rate, cost: float = 1.0) -> float:
        """See ``RateLimits``."""
        wait = self._local.take(name, rate, cost)
        if wait == 0.0 and (name in self._used or len(self._used) < _PENDING):
            self._used[name] = self._used.get(name, 0.0) + cost * rate.interval
        return wait

    def wait(self, name: str, rate: Rate) -> float:
        """See ``RateLimits``."""
        return self._local.wait(name, rate)

    async def exchange(self) -> None:
        """Tell Redis what was taken, and hear how full the buckets are.

        ``CoordinationUnavailable``: what was not told is told the next time.
        """
        batch = dict(list(self._used.items())[:_BATCH])
        for name in batch:
            del self._used[name]
        asked: dict[str, asyncio.Future[Any]] = {}
        lost: CoordinationUnavailable | None = None
        for name, seconds in batch.items():
            try:
                asked[name] = self._link.call("EVAL", _TAKE, 1, self._key(name), f"{seconds:.6f}")
            except CoordinationUnavailable as error:
                lost = error
                self._again(name, seconds)
        for name, future in asked.items():
            try:
                full = float(await future)
            except CoordinationUnavailable as error:
                lost = error
                self._again(name, batch[name])
            else:
                # What was taken meanwhile comes on top.
                self._local.set_full(name, full + self._used.get(name, 0.0))
        if lost is not None:
            raise lost

    def _again(self, name: str, seconds: float) -> None:
        # A bucket that would be full again by now need not be told of.
        self._used[name] = min(self._used.get(name, 0.0) + seconds, 3600.0)

    async def _exchange_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self._period)
            if not self._link.up:
                self._forget()
                continue
            with suppress(CoordinationUnavailable):
                await self.exchange()

    def _forget(self) -> None:
        """Let what was taken grow old: Redis would have let it run off too."""
        self._used = {
            name: left
            for name, seconds in self._used.items()
            if (left := seconds - self._period) > 0
        }

    def _key(self, name: str) -> str:
        """The key of a bucket. Names hold user names and addresses: Redis gets a hash of them."""
        return self._prefix + blake2b(name.encode(), digest_size=16).hexdigest()


_: type[RateLimits] = RedisRates
