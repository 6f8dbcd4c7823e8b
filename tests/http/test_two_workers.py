"""Two workers are one registry: what one acknowledged the other knows at once.

Each request has a connection of its own, so that the kernel spreads them over both; each check is
made several times in a row, so that one stale worker is found.
"""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from conformance.server import RegistryProcess
from tests.oracle.content import (
    OCI_MANIFEST,
    descriptor,
    digest_of,
    image,
    push_blob,
    push_image,
    put_manifest,
    random_bytes,
    with_digest,
)
from tests.oracle.wire import Client

LOOKS = 8
"""Chance that all of them meet one worker: 1 in 128."""


@pytest.fixture(scope="module", params=["filesystem", "memory"])
def server(request, module_registry_server) -> RegistryProcess:
    """It is ready when the first worker is: the second may take a moment more."""
    server = module_registry_server(request.param, workers=2)
    met: set[str] = set()
    deadline = time.monotonic() + 60
    with Client(server.address, fresh=True) as client:
        while len(met) < 2 and time.monotonic() < deadline:
            met.add(_worker(client))
    return server


def _worker(client: Client) -> str:
    """The process that answers: what its ids of requests begin with."""
    return client.get("/v2/x/manifests/x").expect(404)["X-Request-Id"][:8]


@pytest.fixture
def workers(server) -> Iterator[Client]:
    with Client(server.address, fresh=True) as client:
        yield client


def test_requests_really_meet_both_workers(workers):
    assert len({_worker(workers) for _ in range(60)}) == 2


def test_an_upload_is_carried_on_by_whichever_worker_comes(workers, repo):
    """C1: POST, PATCH, status, PUT."""
    for number in range(4):
        data = random_bytes((repo, number), 500_000)
        location = workers.post(f"/v2/{repo}/blobs/uploads/").expect(202)["Location"]
        for at in range(0, len(data), 50_000):
            span = ("Content-Range", f"{at}-{at + 49_999}")
            workers.patch(location, span, body=data[at : at + 50_000]).expect(202)
            assert workers.get(location).expect(204)["Range"] == f"0-{at + 49_999}"
        workers.put(with_digest(location, digest_of(data))).expect(201)
        for _ in range(LOOKS):
            assert workers.get(f"/v2/{repo}/blobs/{digest_of(data)}").expect(200).body == data
            workers.get(location).refused(404, "BLOB_UPLOAD_UNKNOWN")


def test_a_session_that_one_worker_writes_to_is_held_for_the_other(workers, repo):
    """C2."""
    for pause in (0.0, 0.1, 0.5, 2.0):
        location = workers.post(f"/v2/{repo}/blobs/uploads/").expect(202)["Location"]
        with workers.connect() as slow:
            slow.send(slow.head("PATCH", location, [("Content-Length", "100000")]) + b"a" * 50_000)
            time.sleep(pause)
            first = workers.patch(location, ("Content-Range", "0-0"), body=b"b")
            if first.status == 202:  # it came before the slow one was read: once more, later
                continue
            first.refused(416, "BLOB_UPLOAD_INVALID")
            for _ in range(LOOKS):
                second = workers.patch(location, ("Content-Range", "0-0"), body=b"b")
                second.refused(416, "BLOB_UPLOAD_INVALID")
            slow.send(b"a" * 50_000)
            slow.read("PATCH").expect(202)
        workers.put(with_digest(location, digest_of(b"a" * 100_000))).expect(201)
        return
    pytest.fail("a request that began two seconds ago holds nothing")


def test_a_blob_deleted_by_one_worker_is_gone_from_the_other(workers, repo, another):
    """C9, C10: also after it was read, mounted and read elsewhere."""
    data = random_bytes(repo, 1000)
    for _ in range(3):
        digest = push_blob(workers, repo, data)
        workers.post(f"/v2/{another}/blobs/uploads/?mount={digest}&from={repo}").expect(201)
        for _ in range(LOOKS):
            assert workers.get(f"/v2/{repo}/blobs/{digest}").expect(200).body == data
        workers.delete(f"/v2/{repo}/blobs/{digest}").expect(202)
        for _ in range(LOOKS):
            workers.get(f"/v2/{repo}/blobs/{digest}").refused(404, "BLOB_UNKNOWN")
            assert workers.get(f"/v2/{another}/blobs/{digest}").expect(200).body == data


def test_a_tag_moved_by_one_worker_is_moved_for_the_other(workers, repo):
    """C11."""
    push_blob(workers, repo, b"{}")
    for number in range(10):
        manifest = image(b"{}", annotations={"number": str(number)})
        put_manifest(workers, repo, "latest", manifest).expect(201)
        for _ in range(LOOKS):
            assert workers.get(f"/v2/{repo}/manifests/latest").expect(200).body == manifest


def test_lists_follow_each_change_on_both_workers(workers, repo):
    """C11: tags, referrers, the catalog."""
    subject = descriptor(push_image(workers, repo, repo, "v1"), OCI_MANIFEST)
    push_blob(workers, repo, b"{}")
    here = {"v1"}
    for number in range(6):
        referrer = image(b"{}", subject=subject, annotations={"number": str(number)})
        put_manifest(workers, repo, f"sig{number}", referrer).expect(201)
        here.add(f"sig{number}")
        for _ in range(LOOKS):
            assert workers.get(f"/v2/{repo}/tags/list").json()["tags"] == sorted(here)
            listed = workers.get(f"/v2/{repo}/referrers/{subject['digest']}").json()["manifests"]
            assert digest_of(referrer) in {each["digest"] for each in listed}
        workers.delete(f"/v2/{repo}/manifests/{digest_of(referrer)}").expect(202)
        here.discard(f"sig{number}")
        for _ in range(LOOKS):
            assert workers.get(f"/v2/{repo}/tags/list").json()["tags"] == sorted(here)
            workers.head(f"/v2/{repo}/manifests/sig{number}").expect(404)
            listed = workers.get(f"/v2/{repo}/referrers/{subject['digest']}").json()["manifests"]
            assert listed == []
    for _ in range(LOOKS):
        assert repo in workers.get("/v2/_catalog").json()["repositories"]


@pytest.mark.parametrize("condition", ["swap", "create"])
def test_of_many_swaps_over_both_workers_exactly_one_wins(server, workers, repo, condition):
    count = 16
    push_blob(workers, repo, b"{}")
    base, *rivals = [image(b"{}", annotations={"n": str(number)}) for number in range(count + 1)]
    header = ("If-None-Match", "*")
    if condition == "swap":
        put_manifest(workers, repo, "v1", base).expect(201)
        header = ("If-Match", f'"{digest_of(base)}"')
    ready = threading.Barrier(count)

    def attempt(rival: bytes) -> int:
        with Client(server.address) as client:
            client.head("/v2/")
            ready.wait()
            return put_manifest(client, repo, "v1", rival, header).status

    with ThreadPoolExecutor(count) as threads:
        statuses = list(threads.map(attempt, rivals))
    assert sorted(statuses) == [201] + [412] * (count - 1)
    for _ in range(LOOKS):
        assert workers.get(f"/v2/{repo}/manifests/v1").body == rivals[statuses.index(201)]


def test_one_digest_pushed_over_both_workers_at_once_succeeds_for_all(server, workers, repo):
    """C3."""
    data = random_bytes(repo, 200_000)
    ready = threading.Barrier(8)

    def push(number: int) -> int:
        with Client(server.address) as client:
            location = client.post(f"/v2/{repo}/p{number}/blobs/uploads/")["Location"]
            ready.wait()
            return client.put(with_digest(location, digest_of(data)), body=data).status

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(push, range(8))) == [201] * 8
    for number in range(8):
        reply = workers.get(f"/v2/{repo}/p{number}/blobs/{digest_of(data)}").expect(200)
        assert reply.body == data
