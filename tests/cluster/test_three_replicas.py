"""What goes wrong among replicas elsewhere, tried on three: docs/explanation/consistency.md.

Each request goes to a replica that the test chooses, not through the balancer. The numbers C1 to
C27 are those of that page.
"""

import itertools
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TypeVar

import pytest

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
from tests.oracle.histories import Operation, is_linearizable
from tests.oracle.tag_client import clients
from tests.oracle.wire import Client, Reply

T = TypeVar("T")

COUNT = int(os.environ.get("MOORAGE_HISTORY_LENGTH", "10"))

_numbers = itertools.count(1)


@pytest.fixture
def repo() -> str:
    """The name of a repository that nothing else uses."""
    return f"replicas/test-{next(_numbers)}"


@pytest.fixture
def replicas(cluster) -> Iterator[list[Client]]:
    """A client of each replica."""
    with ExitStack() as stack:
        yield [stack.enter_context(Client(address)) for address in cluster.addresses]


def at_once(cluster, count: int, work: Callable[[Client, int], T]) -> list[T]:
    """Do so many pieces of work together, each with a client of its own; replicas in turn."""
    ready = threading.Barrier(count)

    def one(number: int) -> T:
        with Client(cluster.addresses[number % len(cluster.addresses)]) as client:
            client.get("/v2/").expect(200)
            ready.wait(20)
            return work(client, number)

    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(one, range(count)))


# --- uploads --------------------------------------------------------------------------------


def test_sixteen_uploads_at_once_change_replica_with_every_request(cluster, repo):
    """C1: POST, two PATCHes, status after each, and PUT go round; uploads begin at all three."""
    size = 100_000

    def push(number: int) -> None:
        data = random_bytes((repo, number), 2 * size)
        with ExitStack() as stack:
            each = [stack.enter_context(Client(address)) for address in cluster.addresses]
            turn = itertools.islice(itertools.cycle(each), number, None)
            location = next(turn).post(f"/v2/{repo}/blobs/uploads/").expect(202)["Location"]
            for at in range(0, len(data), size):
                span = ("Content-Range", f"{at}-{at + size - 1}")
                next(turn).patch(location, span, body=data[at : at + size]).expect(202)
                assert next(turn).get(location).expect(204)["Range"] == f"0-{at + size - 1}"
            next(turn).put(with_digest(location, digest_of(data))).expect(201)
            assert next(turn).get(f"/v2/{repo}/blobs/{digest_of(data)}").expect(200).body == data

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(push, range(16)))


def test_an_upload_goes_on_with_another_replica_after_its_own_was_killed(cluster, replicas, repo):
    """C1: a part of the store's own size and a tail below it had been acknowledged."""
    first, other, third = replicas
    data = random_bytes(repo, 6_000_000)
    cuts = [0, 5_500_000, 5_600_000, len(data)]
    pieces = [data[start:end] for start, end in itertools.pairwise(cuts)]
    location = first.post(f"/v2/{repo}/blobs/uploads/").expect(202)["Location"]
    first.patch(location, body=pieces[0]).expect(202)
    cluster.replicas[0].kill()
    assert other.get(location).expect(204)["Range"] == f"0-{cuts[1] - 1}"
    other.patch(location, ("Content-Range", f"{cuts[1]}-{cuts[2] - 1}"), body=pieces[1]).expect(202)
    third.put(with_digest(location, digest_of(data)), body=pieces[2]).expect(201)
    assert other.get(f"/v2/{repo}/blobs/{digest_of(data)}").expect(200).body == data


def test_a_session_that_one_replica_writes_to_is_held_for_the_others(replicas, repo):
    """C2: they wait, and then are told how far it is; bytes of two writers never mix."""
    first, *others = replicas
    data, half = b"a" * 100_000, 50_000
    for pause in (0.2, 1.0, 3.0):
        location = first.post(f"/v2/{repo}/blobs/uploads/").expect(202)["Location"]
        with first.connect() as slow, ThreadPoolExecutor(len(others)) as threads:
            head = slow.head("PATCH", location, [("Content-Length", str(len(data)))])
            slow.send(head + data[:half])
            time.sleep(pause)
            later = [
                threads.submit(other.patch, location, ("Content-Range", "0-9"), body=b"b" * 10)
                for other in others
            ]
            time.sleep(0.3)
            if any(each.done() for each in later):  # it came before the slow one was read
                continue
            slow.send(data[half:])
            slow.read("PATCH").expect(202)
            for each in later:
                refused = each.result(10).refused(416, "BLOB_UPLOAD_INVALID")
                assert refused["Range"] == f"0-{len(data) - 1}"
        others[0].put(with_digest(location, digest_of(data))).expect(201)
        assert others[1].get(f"/v2/{repo}/blobs/{digest_of(data)}").expect(200).body == data
        return
    pytest.fail("a request that began three seconds ago holds nothing")


@pytest.mark.parametrize("size", [1000, 300_000], ids=["in its pointer", "in an object"])
def test_one_digest_pushed_through_every_replica_at_once_succeeds_for_all(
    cluster, replicas, repo, size
):
    """C3: into one repository and into others."""
    data = random_bytes(repo, size)
    digest = digest_of(data)
    names = [repo, f"{repo}/other"]

    def push(client: Client, number: int) -> int:
        location = client.post(f"/v2/{names[number % 2]}/blobs/uploads/").expect(202)["Location"]
        return client.put(with_digest(location, digest), body=data).status

    assert at_once(cluster, 9, push) == [201] * 9
    for client in replicas:
        for name in names:
            assert client.get(f"/v2/{name}/blobs/{digest}").expect(200).body == data


def test_a_store_that_asks_for_less_is_a_503_with_retry_after(cluster, replicas, repo):
    """C22: for whoever reads and whoever writes; and nothing is left of it when it is over."""
    data = random_bytes(repo, 100_000)
    cluster.balancer.refuse_s3(100)

    def ask(client: Client, number: int) -> Reply:
        if number % 2:
            return client.get(f"/v2/{repo}/manifests/latest")
        begun = client.post(f"/v2/{repo}/blobs/uploads/")
        if begun.status != 202:  # a replica that does without Redis asks the store
            return begun
        return client.put(with_digest(begun["Location"], digest_of(data)), body=data)

    for reply in at_once(cluster, 6, ask):
        assert int(reply.refused(503, "UNAVAILABLE")["Retry-After"]) > 0
    cluster.balancer.refuse_s3(0)
    assert push_blob(replicas[0], repo, data) == digest_of(data)
    assert replicas[1].get(f"/v2/{repo}/blobs/{digest_of(data)}").expect(200).body == data


# --- tags -----------------------------------------------------------------------------------


def rivals_of(client: Client, repo: str, count: int) -> list[bytes]:
    """Manifests of different digests whose content is there, not pushed yet."""
    push_blob(client, repo, b"{}")
    return [image(b"{}", annotations={"number": str(number)}) for number in range(count)]


def test_of_puts_to_one_tag_through_every_replica_one_stands_and_all_manifests_stay(
    cluster, replicas, repo
):
    """C12: no 201 is a lie, and all replicas name the same winner."""
    base, *rivals = rivals_of(replicas[0], repo, 10)
    put_manifest(replicas[0], repo, "latest", base).expect(201)
    for client in replicas:  # from here on each may remember it
        assert client.get(f"/v2/{repo}/manifests/latest").expect(200).body == base

    def put(client: Client, number: int) -> int:
        return put_manifest(client, repo, "latest", rivals[number]).status

    assert at_once(cluster, len(rivals), put) == [201] * len(rivals)
    told = {client.get(f"/v2/{repo}/manifests/latest").expect(200).body for client in replicas}
    assert len(told) == 1
    assert told < set(rivals)
    for number, rival in enumerate(rivals):
        path = f"/v2/{repo}/manifests/{digest_of(rival)}"
        assert replicas[number % 3].get(path).expect(200).body == rival


def test_tags_are_linearizable_over_replicas(cluster, replicas, repo):
    """C12, C14: a tag looks like one register, whoever asks which replica."""
    push_blob(replicas[0], repo, b"{}")
    places = ",".join(cluster.addresses)
    outcomes: Counter[str] = Counter()
    for number in range(8):  # few conditions may be met in one history, by chance
        tag = f"tag-{number}"
        with clients(places, repo, [tag], processes=2, threads=3, count=COUNT) as histories:
            pass
        (history,) = histories.values()
        assert is_linearizable(history), "no order of the operations explains the answers"
        outcomes.update(each.outcome for each in history if each.expected)
        print(f"\n{len(history)} operations; of those with a condition: {dict(outcomes)}")
        if min(outcomes["ok"], outcomes["refused"]) > 3:
            return
    pytest.fail(f"the histories hardly try conditions: {dict(outcomes)}")


@pytest.mark.parametrize("condition", ["swap", "create"])
def test_of_many_swaps_over_the_replicas_exactly_one_wins(cluster, replicas, repo, condition):
    """C14."""
    base, *rivals = rivals_of(replicas[0], repo, 13)
    header = ("If-None-Match", "*")
    if condition == "swap":
        put_manifest(replicas[0], repo, "v1", base).expect(201)
        header = ("If-Match", f'"{digest_of(base)}"')

    def swap(client: Client, number: int) -> int:
        return put_manifest(client, repo, "v1", rivals[number], header).status

    statuses = at_once(cluster, len(rivals), swap)
    assert sorted(statuses) == [201] + [412] * (len(rivals) - 1)
    for client in replicas:
        assert client.get(f"/v2/{repo}/manifests/v1").body == rivals[statuses.index(201)]


def test_a_repository_deleted_beside_pushes_is_linearizable_and_what_stays_is_listed(
    cluster, replicas, repo
):
    """To each tag a deletion of the repository is one deletion of it, whichever replica does it."""
    tags = ["one", "two"]
    push_blob(replicas[0], repo, b"{}")
    path = "/api/v1/repositories/" + repo.replace("/", ":")
    deletions: list[Operation] = []
    counted: Counter[int] = Counter()
    stop = threading.Event()

    def delete() -> None:
        for number in itertools.count():
            began = time.monotonic()
            reply = replicas[number % 3].delete(path)
            ended = time.monotonic()
            counted[reply.status] += 1
            if reply.status == 503:
                deletions.append(Operation("delete", began, None))
            else:
                assert reply.status in (200, 404), reply
                outcome = "gone" if reply.status == 200 else "missing"
                deletions.append(Operation("delete", began, ended, outcome=outcome))
            if stop.wait(0.05):
                return

    def names() -> list[list[str]]:
        found = [client.get("/v2/_catalog?last=replicas").expect(200) for client in replicas]
        return [each.json()["repositories"] for each in found]

    with ThreadPoolExecutor(1) as pool:
        deleting = pool.submit(delete)
        try:
            with clients(
                ",".join(cluster.addresses), repo, tags, processes=2, threads=2, count=3 * COUNT
            ) as histories:
                pass
        finally:
            stop.set()
        deleting.result()
    for tag in tags:
        assert is_linearizable([*histories[tag], *deletions]), tag
    print(f"\n{sum(map(len, histories.values()))} operations, deletions by status {dict(counted)}")
    assert counted[200]
    push_image(replicas[0], repo, repo, "last")
    assert all(repo in listed for listed in names())
    assert replicas[1].delete(path).expect(200).json()["gone"]
    assert not any(repo in listed for listed in names())
    for client in replicas:
        client.get(f"/v2/{repo}/tags/list").refused(404, "NAME_UNKNOWN")
        client.get(f"/v2/{repo}/manifests/last").refused(404, "MANIFEST_UNKNOWN")


# --- lists ----------------------------------------------------------------------------------


def test_referrers_and_tags_pushed_through_every_replica_at_once_are_all_listed(
    cluster, replicas, repo
):
    """C13: no document is read, changed and written back."""
    subject = descriptor(b"subject", OCI_MANIFEST)
    push_blob(replicas[0], repo, b"{}")

    def push(client: Client, number: int) -> str:
        manifest = image(b"{}", subject=subject, annotations={"number": str(number)})
        put_manifest(client, repo, f"v{number:02}", manifest).expect(201)
        return digest_of(manifest)

    pushed = at_once(cluster, 15, push)
    for client in replicas:
        found = client.get(f"/v2/{repo}/referrers/{subject['digest']}").expect(200).json()
        assert sorted(each["digest"] for each in found["manifests"]) == sorted(pushed)
        tags = client.get(f"/v2/{repo}/tags/list").expect(200).json()["tags"]
        assert tags == [f"v{number:02}" for number in range(15)]


def test_first_pushes_through_every_replica_make_one_repository(cluster, replicas, repo):
    """C16."""
    manifests = at_once(
        cluster, 9, lambda client, number: push_image(client, repo, (repo, number), f"v{number}")
    )
    for client in replicas:
        tags = client.get(f"/v2/{repo}/tags/list").expect(200).json()["tags"]
        assert tags == [f"v{number}" for number in range(9)]
        for number, manifest in enumerate(manifests):
            assert client.get(f"/v2/{repo}/manifests/v{number}").expect(200).body == manifest
        names = client.get("/v2/_catalog?last=replicas").expect(200).json()["repositories"]
        assert names.count(repo) == 1
