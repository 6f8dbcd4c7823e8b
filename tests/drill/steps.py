"""What is done to the installation, in turn. Each step ends whole, or is mended."""

import os
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cluster.kubernetes.pod import Pod
from cluster.kubernetes.workloads import Revision
from tests.drill.setting import Setting, certificate
from tests.oracle.content import digest_of, random_bytes

Act = Callable[[Setting], str]
"""Does it, and returns what is to be said of it."""

DOWN = 10.0
"""Seconds for which what is lost stays away."""


@dataclass(frozen=True)
class Scenario:
    """A step of the drill. Where it is `harmless`, no push, pull or command may fail."""

    name: str
    act: Act
    harmless: bool = True


def _away(pod: Pod, seconds: float = DOWN) -> None:
    pod.hold()
    time.sleep(seconds)
    pod.release()


def kill_a_replica(setting: Setting) -> str:
    pod = setting.registries()[1]
    pod.kill()
    time.sleep(2)
    return f"`kill -9` of {pod.name}; started anew by its restart policy"


def lose_a_storage_node(setting: Setting) -> str:
    pod = setting.installation.pod("moorage-weed-volume-1")
    _away(pod)
    return f"{pod.name} away for {DOWN:.0f} s"


def lose_the_redis_primary(setting: Setting) -> str:
    pod = setting.redis_primary()
    _away(pod)
    return f"{pod.name} and the Sentinel beside it away for {DOWN:.0f} s"


def _lose(setting: Setting, *numbers: int) -> str:
    installation = setting.installation
    nodes = [installation.nodes[number] for number in numbers]
    lost = installation.fail(*nodes)
    time.sleep(2 * DOWN)
    for node in nodes:
        node.down = False
    names = ", ".join(sorted(pod.name.removeprefix("moorage-") for pod in lost))
    return f"away for {2 * DOWN:.0f} s: {names}"


def lose_a_node(setting: Setting) -> str:
    return _lose(setting, 1)


def lose_a_zone(setting: Setting) -> str:
    return f"zone c, one node. {_lose(setting, 2)}"


def lose_a_zone_with_two_storage_nodes(setting: Setting) -> str:
    return f"zone a, two nodes. {_lose(setting, 0, 3)}"


def fill(pod: Pod) -> None:
    """Leave no room on a storage node's disk: nearly all of it at once, the rest by writing."""
    free = os.statvfs(pod.claim)
    size = free.f_bavail * free.f_frsize
    with (pod.claim / "filler").open("wb", buffering=0) as file, suppress(OSError):
        os.posix_fallocate(file.fileno(), 0, int(size * 0.99))
        file.seek(0, os.SEEK_END)
        while file.write(bytes(1 << 20)):
            pass


def _storage_nodes(setting: Setting) -> list[Pod]:
    return setting.installation.workloads["moorage-weed-volume"].pods


def fill_a_storage_node(setting: Setting) -> str:
    pod = _storage_nodes(setting)[2]
    fill(pod)
    time.sleep(2 * DOWN)
    (pod.claim / "filler").unlink()
    return f"the disk of {pod.name} is full for {2 * DOWN:.0f} s"


def fill_all_storage_nodes(setting: Setting) -> str:
    pods = _storage_nodes(setting)
    for pod in pods:
        fill(pod)
    began = time.monotonic()
    said: dict[str, int] = {}
    while time.monotonic() < began + 3 * DOWN:
        answer = _upload(setting)
        said[answer] = said.get(answer, 0) + 1
        time.sleep(1)
    for pod in pods:
        (pod.claim / "filler").unlink()
    freed = time.monotonic()
    while _upload(setting) != "201":
        time.sleep(1)
    told = ", ".join(f"{count} times {text}" for text, count in sorted(said.items()))
    return (
        f"no room anywhere for {3 * DOWN:.0f} s; uploads of 300 kB were answered: {told}; "
        f"the first was taken {time.monotonic() - freed:.0f} s after there was room"
    )


def _upload(setting: Setting) -> str:
    data = random_bytes(time.monotonic(), 300_000)
    with setting.client(fresh=True, timeout=70) as client:
        try:
            reply = client.post(
                f"/v2/chaos/room/blobs/uploads/?digest={digest_of(data)}", body=data
            )
        except OSError as error:
            return type(error).__name__
        if reply.status == 201:
            return "201"
        return f"{reply.status} {reply.code()}, Retry-After: {reply.get('Retry-After')}"


def fill_scratch(setting: Setting) -> str:
    pod = setting.registries()[0]
    place = pod.volume("tmp")
    free = os.statvfs(place)
    (place / "filler").write_bytes(bytes(free.f_bavail * free.f_frsize))
    time.sleep(DOWN)
    with setting.client(fresh=True, host=f"{pod.address}:5001") as client:
        scraped = client.get("/metrics").status
    (place / "filler").unlink()
    return (
        f"the scratch of {pod.name} has no room for {DOWN:.0f} s; its metrics meanwhile: {scraped}"
    )


def skew(setting: Setting, seconds: int) -> str:
    """Give one replica a clock that is so many seconds off, and let it serve with that."""
    installation = setting.installation
    workload = installation.workloads["moorage"]
    (library,) = Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")
    workload.next_environment = {
        "LD_PRELOAD": str(library),
        "FAKETIME": f"{seconds:+d}",
        "DONT_FAKE_MONOTONIC": "1",
        "NO_FAKE_STAT": "1",
    }
    installation.end(setting.registries()[0])
    installation.wait_until(lambda: not workload.next_environment, 60)
    installation.wait_until(lambda: workload.whole, 120)
    time.sleep(1.5 * DOWN)
    said = setting.registries()[-1].log("registry").splitlines()
    return f"the clock of a new replica is {seconds:+d} s off ({len(said)} lines in its log)"


def clock_ahead(setting: Setting) -> str:
    return skew(setting, 300)


def clock_behind(setting: Setting) -> str:
    return skew(setting, -300)


def clock_right(setting: Setting) -> str:
    workload = setting.installation.workloads["moorage"]
    setting.installation.end(setting.registries()[-1])
    time.sleep(1)
    setting.installation.wait_until(lambda: workload.whole, 120)
    return "the replica is replaced by one whose clock is right"


def _roll(setting: Setting, name: str, program: object) -> str:
    workload = setting.installation.workloads["moorage"]
    old = list(workload.pods)
    programs = {**workload.revision.programs, "registry": program}
    workload.template(Revision(name, workload.revision.template, programs))  # type: ignore[arg-type]
    fewest = 3
    deadline = time.monotonic() + 200
    while not workload.whole:
        assert time.monotonic() < deadline, "the rollout does not end"
        fewest = min(fewest, sum(each.ready for each in workload.pods))
        time.sleep(0.2)
    late = sum(each.killed_late for each in old)
    return f"never fewer than {fewest} replicas ready; {late} of 3 outlived their grace"


def downgrade(setting: Setting) -> str:
    return _roll(setting, "before", setting.before)


def upgrade(setting: Setting) -> str:
    now = setting.installation.workloads["moorage-redis"].revision.programs["registry"]
    return _roll(setting, "now", now)


def drain(setting: Setting) -> str:
    installation = setting.installation
    one, other = installation.nodes[1:3]
    one.cordoned = True
    with installation.standing():  # so that nothing has taken a place when the second one is asked
        taken = [pod.name for pod in installation.on(one) if installation.evict(pod)]
        second = [pod for pod in installation.on(other) if pod.ready]
        refused = [pod.name for pod in second if not installation.evict(pod)]
    installation.drain(one)
    time.sleep(3)  # for what takes their place
    stays = [
        f"{each.name.removeprefix('moorage-')} waits for a node"
        for each in installation.workloads.values()
        if len(each.pods) < each.wanted
    ]
    one.cordoned = other.cordoned = False
    return (
        f"{len(taken)} pods of {one.name} evicted at once; a drain of "
        f"{other.name} at the same time: {len(refused)} of {len(second)} refused"
        + (f"; {', '.join(stays)} until the node is back" if stays else "")
    )


def rotate_the_certificate(setting: Setting) -> str:
    assert setting.authority is not None
    with setting.client(timeout=30) as kept:
        kept.get("/v2/chaos/probe/manifests/stable").expect(200)
        before = _certificates(setting)
        began = time.monotonic()
        setting.installation.replace_secret("moorage-tls", certificate(setting.authority))
        while any(new in before for new in _certificates(setting)):
            assert time.monotonic() < began + 60, "the new certificate is not served"
            time.sleep(0.5)
        took = time.monotonic() - began
        held = kept._connection
        kept.get("/v2/chaos/probe/manifests/stable").expect(200)
        went_on = kept._connection is held
    return (
        f"the new one is served by all replicas after {took:.0f} s, nothing was restarted; "
        f"a connection from before {'went on' if went_on else 'was closed'}"
    )


def _certificates(setting: Setting) -> list[bytes]:
    found = []
    for pod in setting.registries():
        context = setting.context
        assert context is not None
        with (
            socket.create_connection((pod.address, 5000), 5) as plain,
            context.wrap_socket(plain, server_hostname="moorage") as secure,
        ):
            found.append(secure.getpeercert(binary_form=True) or b"")
    return found


def rotate_the_signing_key(setting: Setting) -> str:
    pod = setting.registries()[0]
    command = [*setting.installation.workloads["moorage-redis"].revision.programs["registry"].words]
    command += ["keys", "rotate", "-c", "/etc/moorage/config/moorage.toml"]
    (container,) = pod.spec["containers"]
    code = pod.run_in(container, command, 60)
    time.sleep(1.5 * DOWN)
    return (
        f"`moorage keys rotate` in {pod.name} ended with {code}; the new key signs in ten minutes"
    )


def rotate_the_redis_password(setting: Setting) -> str:
    installation = setting.installation
    installation.replace_secret("moorage-redis", {"password": os.urandom(16).hex()})
    for name in ("moorage-redis", "moorage"):
        workload = installation.workloads[name]
        workload.restart()
        installation.wait_until(lambda workload=workload: workload.whole, 240)
    return "the Secret is changed, then `rollout restart` of Redis and of the registry"


FAILURES = (
    Scenario("a replica is killed", kill_a_replica),
    Scenario("a storage node is lost", lose_a_storage_node),
    Scenario("the Redis primary is lost", lose_the_redis_primary),
    Scenario("a node is lost", lose_a_node),
    Scenario("a zone is lost", lose_a_zone),
    Scenario(
        "a zone with two storage nodes is lost",
        lose_a_zone_with_two_storage_nodes,
        harmless=False,
    ),
)

CONDITIONS = (
    Scenario("a storage node's disk is full", fill_a_storage_node),
    Scenario("all storage nodes' disks are full", fill_all_storage_nodes, harmless=False),
    Scenario("a replica's scratch is full", fill_scratch),
    Scenario("a replica's clock is 5 min ahead", clock_ahead),
    Scenario("a replica's clock is 5 min behind", clock_behind),
    Scenario("that clock is mended", clock_right),
)

UPGRADES = (
    Scenario("downgrade by one", downgrade),
    Scenario("rolling upgrade", upgrade),
)

MAINTENANCE = (
    Scenario("a node is drained", drain),
    Scenario("the certificate is renewed", rotate_the_certificate),
    Scenario("the signing key is rotated", rotate_the_signing_key),
    Scenario("the password of Redis is changed", rotate_the_redis_password),
)

PARTS = {
    "failures": FAILURES,
    "conditions": CONDITIONS,
    "upgrades": UPGRADES,
    "maintenance": MAINTENANCE,
}
