"""The cluster does to its processes and links what its methods say, and leaves nothing behind."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from conformance.server import answers, is_ready
from tests.fixtures.programs import require_root
from tests.oracle.content import push_image
from tests.oracle.wire import Client

ROOT = Path(__file__).resolve().parents[2]


def until(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def test_requests_of_one_connection_go_round_the_replicas(cluster):
    def counts() -> list[int]:
        return [replica.log.read_text().count('"action":"ping"') for replica in cluster.replicas]

    before = counts()
    with Client(cluster.address) as client:
        for _ in range(6):
            client.get("/v2/").expect(200)
    until(lambda: counts() == [count + 2 for count in before])


def test_what_one_replica_takes_every_replica_gives(cluster):
    with Client(cluster.address) as client:
        manifest = push_image(client, "cluster/image", 1, "latest")
    for address in cluster.addresses:
        with Client(address) as client:
            reply = client.get("/v2/cluster/image/manifests/latest").expect(200)
            assert reply.body == manifest


def test_a_killed_replica_is_not_asked_and_comes_back(cluster):
    victim = cluster.replicas[0]
    victim.kill()
    with Client(cluster.address) as client:
        for _ in range(9):
            client.get("/v2/").expect(200)
        until(lambda: cluster.balancer.up() == 2)
        victim.start()
        until(lambda: cluster.balancer.up() == 3)
        client.get("/v2/").expect(200)


def test_a_frozen_process_is_silent_and_goes_on(cluster):
    victim, address = cluster.replicas[1], cluster.addresses[1]
    victim.freeze()
    assert not is_ready(address)
    assert not victim.is_ready()
    victim.thaw()
    assert is_ready(address)


def test_no_replica_is_a_503_with_retry_after(cluster):
    for replica in cluster.replicas:
        replica.kill()
    with Client(cluster.address) as client:
        reply = client.get("/v2/")
        assert reply.refused(503, "UNAVAILABLE")["Retry-After"] == "1"


def test_another_node_becomes_primary_and_the_old_one_follows_it(cluster):
    before = cluster.redis.primary()
    before.kill()
    began = time.monotonic()
    until(lambda: cluster.redis.primary() not in (None, before))
    print(f"\na new primary after {time.monotonic() - began:.1f} s")
    after = cluster.redis.primary()
    before.start()
    cluster.redis.wait_until_whole(15)
    assert cluster.redis.primary() is after


def test_minio_lives_on_without_a_node(cluster):
    cluster.minio.nodes[2].kill()
    others = [each for at, each in enumerate(cluster.minio.addresses) if at != 2]
    assert all(answers(address, "/minio/health/cluster") for address in others)
    until(lambda: cluster.balancer.up("minio") == 3)


def test_s3_can_be_made_to_refuse_a_share_of_requests(cluster):
    def refused() -> int:
        found = 0
        with Client(cluster.balancer.s3) as client:
            for _ in range(50):
                found += client.get("/nothing").status == 503
        return found

    assert refused() == 0
    cluster.balancer.refuse_s3(100)
    assert refused() == 50
    cluster.balancer.refuse_s3(40)
    assert 5 <= refused() <= 40
    cluster.balancer.refuse_s3(0)
    assert refused() == 0


@pytest.fixture
def ping(cluster):
    """Ask Redis over the links of the first replica."""
    view = cluster.links.hosts("replica-1").read_text().split("redis-1")[0].split()[-1]

    def ask(seconds: float = 20) -> str:
        command = ["redis-cli", "-h", view, "-p", str(cluster.redis.ports[0]), "ping"]
        secret = {"REDISCLI_AUTH": cluster.redis.password}
        try:
            asked = subprocess.run(
                command,
                env=os.environ | secret,
                capture_output=True,
                text=True,
                timeout=seconds,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return "silence"
        return asked.stdout.strip() or "refused"

    return ask


def test_a_link_is_cut_for_one_replica_only(cluster, ping):
    assert ping() == "PONG"
    cluster.links.cut("replica-1", "redis-1")
    assert ping(2) == "silence"
    cluster.links.mend()
    assert ping() == "PONG"
    cluster.links.cut("replica-2", "redis-1", how="refused")
    assert ping() == "PONG"
    cluster.links.cut("replica-1", "redis-1", how="refused")
    assert ping() == "refused"


def test_a_link_is_slow_until_it_is_mended(cluster, ping):
    cluster.links.slow("replica-1", "redis-1", milliseconds=2000)
    began = time.monotonic()
    assert ping() == "PONG"
    assert time.monotonic() - began >= 2
    cluster.links.mend()
    began = time.monotonic()
    assert ping() == "PONG"
    assert time.monotonic() - began < 2


STARTER = """
import os, pathlib, signal, sys
from cluster.cluster import Cluster
cluster = Cluster(pathlib.Path(sys.argv[1]), replicas=1)
cluster.start()
print(*[process.pid for process in cluster.processes], flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_it_does_not_outlive_a_starter_that_is_killed(tmp_path, whole_cluster):
    """A test run that is killed runs no fixture's end. (The fixture: to run beside no other.)"""
    require_root("cluster of namespaces")
    starter = subprocess.run(
        [sys.executable, "-c", STARTER, tmp_path],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    pids = [int(pid) for pid in starter.stdout.split()]
    assert len(pids) == 13, starter.stderr

    def alive() -> list[int]:
        return [
            pid
            for pid in pids
            if (path := Path(f"/proc/{pid}/stat")).exists()
            and path.read_text().rpartition(")")[2].split()[0] != "Z"
        ]

    until(lambda: not alive())
