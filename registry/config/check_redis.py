"""What must hold of the settings of coordination and Redis."""

from typing import Final

from registry.config.errors import error
from registry.config.sections import Config
from storage.redis_address import RedisAddress

_STORE_SECONDS: Final = 20.0
"""A change that was cut off must have had its effect after so long: ``Pace.flux - Pace.body``."""


def coordinated(config: Config) -> bool:
    """Whether processes on several machines hear of each other's changes."""
    driver = config.coordination.driver
    return driver == "redis" or (driver == "auto" and bool(config.coordination.redis.url))


def check_redis(config: Config) -> None:
    """Raise ``ConfigError`` on the first thing that does not fit together."""
    redis = config.coordination.redis
    if redis.url:
        try:
            RedisAddress.parse(redis.url)
        except ValueError as problem:
            raise error("coordination.redis.url", str(problem)) from None
    if bool(redis.certificate) != bool(redis.key):
        raise error("coordination.redis", "certificate and key must be given together")
    if not coordinated(config):
        if config.coordination.driver == "host" and config.storage.driver == "s3":
            raise error(
                "coordination.driver",
                'with storage.driver = "s3", replicas on any machine may serve the bucket, and '
                "only Redis lets them hear of each other: give coordination.redis.url, or leave "
                'the driver at "auto" for a single process',
            )
        return
    if not redis.url:
        raise error(
            "coordination.redis.url", 'coordination.driver = "redis" needs the URL of a Redis'
        )
    if config.storage.driver == "memory":
        raise error("coordination.driver", "a store in memory has nothing to share with others")
    if config.storage.driver == "s3" and config.storage.s3.read_seconds > _STORE_SECONDS:
        raise error(
            "storage.s3.read_seconds",
            f"at most {_STORE_SECONDS:.0f} with Redis: what a replica that lost its lock still "
            "has under way must be over before others rely on what they remember",
        )
