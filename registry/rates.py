"""The composition root's part for rate limits: where they are counted, and what they are."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from auth.chain import Attempts
from registry.config import Config
from registry.config.check_redis import coordinated
from registry.http.throttle import Allowance, Throttle
from registry.service.attempts import LoginAttempts
from storage.rates import LocalRates, Rate, RateLimits


@dataclass(frozen=True, slots=True)
class Limiting:
    """What slows down callers; ``None``: nothing does."""

    throttle: Throttle | None = None
    attempts: Attempts | None = None


@contextlib.asynccontextmanager
async def limiting(config: Config) -> AsyncIterator[Limiting]:
    """Open what the configuration says of rate limits."""
    rates = config.rates
    if rates.enabled == "off" or (rates.enabled == "auto" and config.auth.mode == "open"):
        yield Limiting()
        return
    async with _counted(config) as counted:
        attempts = LoginAttempts(counted) if rates.logins else None
        allowance = Allowance(
            _rate(rates.address_per_second, rates.address_burst),
            _rate(rates.principal_per_second, rates.principal_burst),
            _rate(rates.management_per_second, rates.management_burst),
        )
        yield Limiting(Throttle(counted, allowance, attempts), attempts)


def _rate(per_second: float, burst: int) -> Rate | None:
    return Rate(per_second, burst) if per_second else None


@contextlib.asynccontextmanager
async def _counted(config: Config) -> AsyncIterator[RateLimits]:
    if not coordinated(config):
        yield LocalRates()
        return
    from registry.replication import redis_access  # noqa: PLC0415  only where Redis is used
    from storage.redis_address import RedisAddress  # noqa: PLC0415  as above
    from storage.redis_rates import RedisRates  # noqa: PLC0415  as above

    redis = config.coordination.redis
    shared = RedisRates(RedisAddress.parse(redis.url), redis_access(config), prefix=redis.prefix)
    async with shared:
        yield shared
