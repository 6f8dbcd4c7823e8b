"""Replicas: the coordinator over Redis and the store, and what log and metrics hear of it."""

import contextlib
import logging
from collections.abc import AsyncIterator

from registry.config import Config
from registry.http.coordination import CoordinationMetrics
from storage.bulletin import Bulletin, installation
from storage.ports import ObjectStore
from storage.redis import RedisCoordinator, Watch
from storage.redis_address import RedisAccess, RedisAddress
from storage.replicas import ReplicaCoordinator

_log = logging.getLogger("moorage.coordination")


@contextlib.asynccontextmanager
async def replicas(
    config: Config,
    store: ObjectStore,
    metrics: CoordinationMetrics,
    *,
    conditional: bool,
    watch: Watch | None = None,
) -> AsyncIterator[ReplicaCoordinator]:
    """Coordinate with all processes that share ``store`` and the configured Redis.

    ``conditional`` tells whether the store can judge two writers by itself; ``watch`` is told of
    commands to Redis.
    """
    observer = ReplicationObserver(metrics)
    bulletin = Bulletin(store, observer=observer)
    redis = RedisCoordinator(
        RedisAddress.parse(config.coordination.redis.url),
        redis_access(config),
        installation=await installation(store),
        prefix=config.coordination.redis.prefix,
        terms=bulletin,
        observer=observer,
        watch=watch,
    )
    coordinator = ReplicaCoordinator(redis, bulletin, conditional=conditional, observer=observer)
    metrics.watch(coordinator)
    async with bulletin, redis, coordinator:
        yield coordinator


def redis_access(config: Config) -> RedisAccess:
    """Return what the driver is told."""
    redis = config.coordination.redis
    return RedisAccess(
        username=redis.username,
        password=redis.password.reveal(),
        sentinel_username=redis.sentinel_username,
        sentinel_password=redis.sentinel_password.reveal(),
        ca=redis.ca_file,
        certificate=redis.certificate,
        key=redis.key,
        timeout=redis.timeout_seconds,
    )


class ReplicationObserver:
    """Logs what changes, and counts."""

    def __init__(self, metrics: CoordinationMetrics) -> None:
        self._metrics = metrics
        self._reason = ""

    def connected(self, where: str) -> None:
        """As ``RedisObserver`` has it."""
        self._reason = ""
        _log.info("connected to Redis at %s", where)

    def disconnected(self, reason: str) -> None:
        """As ``RedisObserver`` has it. A reason is logged once, not at each attempt."""
        self._metrics.count("disconnects")
        if reason != self._reason:
            self._reason = reason
            _log.warning("no connection to Redis, answers come from the store: %s", reason)

    def new_epoch(self) -> None:
        """As ``RedisObserver`` has it."""
        self._metrics.count("epochs")
        _log.info("Redis had no record of changes, a new one was begun: what was remembered is not")

    def lock_lost(self) -> None:
        """As ``RedisObserver`` has it."""
        self._metrics.count("locks_lost")
        _log.warning("a lock was lost while it was needed; the store judges what comes of it")

    def round_trip(self, commands: int, seconds: float) -> None:  # noqa: ARG002
        """As ``RedisObserver`` has it."""
        self._metrics.round_trip(seconds)

    def new_term(self, number: int) -> None:
        """As ``BulletinObserver`` has it."""
        self._metrics.count("terms")
        _log.info("term %d: which Redis counts, and since when, stands in the store", number)

    def alone(self, alone: bool) -> None:  # noqa: FBT001
        """As ``ReplicaObserver`` has it."""
        if alone:
            _log.warning("no Redis that counts: changes are made without it, the store judges them")
        else:
            _log.info("changes are made through Redis again")
