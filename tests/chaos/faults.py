"""What is done to the cluster while clients are at work. Each fault ends whole, or is healed."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from cluster.cluster import NAMES, S3_NAME, Cluster

Fault = Callable[[Cluster, float], None]
"""Disturbs the cluster for so many seconds."""


def kill_a_replica(cluster: Cluster, seconds: float) -> None:
    victim = cluster.replicas[0]
    victim.kill()
    time.sleep(seconds)
    victim.start()


def restart_all_replicas(cluster: Cluster, seconds: float) -> None:
    """SIGTERM, one after the other, as a rolling upgrade does."""
    for replica in cluster.replicas:
        replica.stop(code=0)
        replica.start()
        _until(lambda: cluster.balancer.up() == len(cluster.replicas))
        time.sleep(seconds / 10)


def kill_a_minio_node(cluster: Cluster, seconds: float) -> None:
    victim = cluster.minio.nodes[1]
    victim.kill()
    time.sleep(seconds)
    victim.start()


def kill_the_redis_primary(cluster: Cluster, seconds: float) -> None:
    victim = cluster.redis.primary()
    assert victim is not None
    victim.kill()
    _until(lambda: cluster.redis.primary() not in (None, victim))
    time.sleep(seconds)
    victim.start()


def flush_redis(cluster: Cluster, seconds: float) -> None:
    for _ in range(3):
        cluster.redis.flush()
        time.sleep(seconds / 3)


def freeze_a_replica(cluster: Cluster, seconds: float) -> None:
    cluster.replicas[1].freeze()
    time.sleep(seconds)
    cluster.replicas[1].thaw()


def freeze_a_minio_node(cluster: Cluster, seconds: float) -> None:
    cluster.minio.nodes[2].freeze()
    time.sleep(seconds)
    cluster.minio.nodes[2].thaw()


def freeze_the_redis_primary(cluster: Cluster, seconds: float) -> None:
    victim = cluster.redis.primary()
    assert victim is not None
    victim.freeze()
    time.sleep(seconds)
    victim.thaw()


def cut_a_replica_off_redis(cluster: Cluster, seconds: float) -> None:
    cluster.links.cut("replica-2", *NAMES)
    time.sleep(seconds)
    cluster.links.mend()


def slow_links(cluster: Cluster, seconds: float) -> None:
    cluster.links.slow("replica-3", S3_NAME, milliseconds=150, kbytes=4000)
    cluster.links.slow("replica-2", *NAMES, milliseconds=100)
    time.sleep(seconds)
    cluster.links.mend()


def refuse_s3(cluster: Cluster, seconds: float) -> None:
    cluster.balancer.refuse_s3(100)
    time.sleep(seconds)
    cluster.balancer.refuse_s3(0)


@dataclass(frozen=True)
class Scenario:
    """A fault, and what of the installation is lost by it."""

    fault: Fault
    seconds: float = 10
    one_process: bool = False
    """One process is lost, or all are replaced in turn: no client's command may fail."""

    short: float | None = None
    """Seconds in the short run, if it has a part there."""

    @property
    def name(self) -> str:
        return self.fault.__name__.replace("_", " ")


SCENARIOS = (
    Scenario(kill_a_replica, one_process=True, short=3),
    Scenario(restart_all_replicas, one_process=True, short=3),
    Scenario(kill_a_minio_node, one_process=True),
    Scenario(kill_the_redis_primary, one_process=True, short=3),
    Scenario(flush_redis, short=3),
    Scenario(freeze_a_replica),
    Scenario(freeze_a_minio_node),
    Scenario(freeze_the_redis_primary),
    Scenario(cut_a_replica_off_redis),
    Scenario(slow_links),
    Scenario(refuse_s3, seconds=60),
)


def _until(condition: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)
