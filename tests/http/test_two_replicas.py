"""Two replicas over one store and one Redis: what one acknowledged the other knows at once.

Every change is made through one and looked for through the other by the very next request.
"""

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from email.utils import parsedate_to_datetime

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
from tests.oracle.wire import Client


def options_of(request, store, redis, data):
    """What the replicas over one empty store are started with."""
    options = {"store": store, "settings": {"COORDINATION__REDIS__URL": redis.url}}
    if store == "s3":
        options["settings"] |= request.getfixturevalue("minio").settings(f"replicas-{data.name}")
    else:
        options["data"] = data
    return options


@pytest.fixture(scope="module", params=["filesystem", "s3"])
def store(request):
    return request.param


@pytest.fixture(scope="module")
def redis(store, module_redis_servers):
    return module_redis_servers.server()


@pytest.fixture(scope="module")
def options(request, store, redis, tmp_path_factory):
    return options_of(request, store, redis, tmp_path_factory.mktemp("shared"))


@pytest.fixture(scope="module")
def servers(options, module_registry_server):
    return module_registry_server.together(2, **options)


@pytest.fixture
def both(servers):
    with Client(servers[0].address) as one, Client(servers[1].address) as other:
        yield one, other


@pytest.fixture
def late(options, registry_server, tmp_path, monkeypatch) -> Iterator[Client]:
    """A client of a third replica, whose clock is ten minutes late."""
    (tmp_path / "sitecustomize.py").write_text(
        "import time\nnow = time.time\ntime.time = lambda: now() - 600\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with Client(registry_server(**options).address) as client:
        yield client


def ways(both):
    """From the one to the other, and back."""
    return [both, both[::-1]]


def test_a_tag_moved_on_one_is_moved_on_the_other(both, repo):
    """C11."""
    for at, client in enumerate(both):
        push_blob(client, repo, b"{}")
        for number in range(15):
            manifest = image(b"{}", annotations={"number": f"{at} {number}"})
            put_manifest(client, repo, "latest", manifest).expect(201)
            for reader in both[::-1]:
                reply = reader.get(f"/v2/{repo}/manifests/latest").expect(200)
                assert reply.body == manifest


def test_lists_follow_each_change(both, repo):
    """C11: tags, referrers, the catalog."""
    subject = descriptor(push_image(both[0], repo, repo, "v1"), OCI_MANIFEST)
    assert repo in both[1].get("/v2/_catalog").json()["repositories"]
    push_blob(both[0], repo, b"{}")
    for number, (writer, reader) in enumerate(ways(both) * 2):
        referrer = image(b"{}", subject=subject, annotations={"number": str(number)})
        put_manifest(writer, repo, f"sig{number}", referrer).expect(201)
        assert reader.get(f"/v2/{repo}/tags/list").json()["tags"] == [f"sig{number}", "v1"]
        path = f"/v2/{repo}/referrers/{subject['digest']}"
        listed = reader.get(path).json()["manifests"]
        assert [each["digest"] for each in listed] == [digest_of(referrer)]
        writer.delete(f"/v2/{repo}/manifests/{digest_of(referrer)}").expect(202)
        assert reader.get(f"/v2/{repo}/tags/list").json()["tags"] == ["v1"]
        reader.head(f"/v2/{repo}/manifests/sig{number}").expect(404)
        reader.get(f"/v2/{repo}/manifests/{digest_of(referrer)}").expect(404)
        assert reader.get(path).json()["manifests"] == []


def test_a_deleted_tag_or_blob_is_gone_on_the_other(both, repo, another):
    """C9, C10: also after it was read, mounted and read elsewhere."""
    data = random_bytes(repo, 1000)
    for writer, reader in ways(both) * 2:
        digest = push_blob(writer, repo, data)
        writer.post(f"/v2/{another}/blobs/uploads/?mount={digest}&from={repo}").expect(201)
        assert reader.get(f"/v2/{repo}/blobs/{digest}").expect(200).body == data
        manifest = push_image(writer, repo, repo, "gone")
        assert reader.get(f"/v2/{repo}/manifests/gone").expect(200).body == manifest
        writer.delete(f"/v2/{repo}/blobs/{digest}").expect(202)
        reader.get(f"/v2/{repo}/blobs/{digest}").refused(404, "BLOB_UNKNOWN")
        assert reader.get(f"/v2/{another}/blobs/{digest}").expect(200).body == data
        writer.delete(f"/v2/{repo}/manifests/gone").expect(202)
        reader.get(f"/v2/{repo}/manifests/gone").refused(404, "MANIFEST_UNKNOWN")


def test_an_upload_goes_on_wherever_it_is_sent(both, repo):
    """C1: POST, PATCH, status and PUT in turn."""
    for number, (one, other) in enumerate(ways(both)):
        data = random_bytes((repo, number), 300_000)
        location = one.post(f"/v2/{repo}/blobs/uploads/").expect(202)["Location"]
        for turn, at in enumerate(range(0, len(data), 100_000)):
            writer, reader = both[turn % 2], both[1 - turn % 2]
            span = ("Content-Range", f"{at}-{at + 99_999}")
            writer.patch(location, span, body=data[at : at + 100_000]).expect(202)
            assert reader.get(location).expect(204)["Range"] == f"0-{at + 99_999}"
        one.put(with_digest(location, digest_of(data))).expect(201)
        assert other.get(f"/v2/{repo}/blobs/{digest_of(data)}").expect(200).body == data
        other.get(location).refused(404, "BLOB_UPLOAD_UNKNOWN")


def test_the_last_change_stands_though_a_replicas_clock_is_late(both, late, repo):
    """C25: versions order a tag's changes, wall clocks don't."""
    times = [parsedate_to_datetime(each.get("/v2/")["Date"]) for each in (both[0], late)]
    assert 590 < (times[0] - times[1]).total_seconds() < 610
    push_blob(late, repo, b"{}")
    for number, (writer, reader) in enumerate(ways((both[0], late)) * 3):
        manifest = image(b"{}", annotations={"number": str(number)})
        put_manifest(writer, repo, "latest", manifest).expect(201)
        for client in (*both, late):
            assert client.get(f"/v2/{repo}/manifests/latest").expect(200).body == manifest
        if number > 3:
            reader.delete(f"/v2/{repo}/manifests/latest").expect(202)
            for client in (*both, late):
                client.get(f"/v2/{repo}/manifests/latest").refused(404, "MANIFEST_UNKNOWN")
        data = random_bytes((repo, number), 200_000)
        location = writer.post(f"/v2/{repo}/blobs/uploads/").expect(202)["Location"]
        reader.patch(location, body=data[:100_000]).expect(202)
        writer.put(with_digest(location, digest_of(data)), body=data[100_000:]).expect(201)
        assert reader.get(f"/v2/{repo}/blobs/{digest_of(data)}").expect(200).body == data


def test_redis_is_flushed_between_every_two_requests(redis, both, repo):
    client = redis.client()
    push_blob(both[0], repo, b"{}")
    for number in range(10):
        for writer, reader in ways(both):
            manifest = image(b"{}", annotations={"number": f"{number}"})
            client.flushall()
            put_manifest(writer, repo, "latest", manifest).expect(201)
            client.flushall()
            assert reader.get(f"/v2/{repo}/manifests/latest").expect(200).body == manifest


def test_a_replica_that_was_asleep_wakes_up_to_the_truth(servers, both, repo):
    """What it remembers may be old, and so is what it knows of the others."""
    push_blob(both[0], repo, b"{}")
    first, second = (image(b"{}", annotations={"number": f"{n}"}) for n in range(2))
    put_manifest(both[0], repo, "latest", first).expect(201)
    assert both[1].get(f"/v2/{repo}/manifests/latest").expect(200).body == first
    os.kill(servers[1].pid, signal.SIGSTOP)
    try:
        time.sleep(1)
        put_manifest(both[0], repo, "latest", second).expect(201)
        time.sleep(4)
    finally:
        os.kill(servers[1].pid, signal.SIGCONT)
    for _ in range(3):
        assert both[1].get(f"/v2/{repo}/manifests/latest").expect(200).body == second


@pytest.fixture(scope="module")
def widowed(request, module_registry_server, module_redis_servers, tmp_path_factory):
    """Clients of two replicas whose Redis has died."""
    redis, data = module_redis_servers.server(), tmp_path_factory.mktemp("alone")
    options = options_of(request, "s3", redis, data)
    servers = module_registry_server.together(2, **options)
    with Client(servers[0].address) as one, Client(servers[1].address) as other:
        push_blob(one, "project/before", b"{}")
        redis.kill()
        yield one, other


def test_replicas_serve_and_agree_without_redis(widowed, repo):
    push_blob(widowed[0], repo, b"{}")
    for number in range(4):
        for writer, reader in ways(widowed):
            manifest = image(b"{}", annotations={"number": f"{number}"})
            put_manifest(writer, repo, "latest", manifest).expect(201)
            for client in (reader, writer):
                reply = client.get(f"/v2/{repo}/manifests/latest").expect(200)
                assert reply.body == manifest
            reader.get("/readyz").expect(200)


def test_the_end_of_an_upload_that_both_are_sent_at_once_succeeds_twice(widowed, repo):
    """Without Redis no lease keeps a replica from what another is about to finish."""
    with ThreadPoolExecutor(2) as threads:
        for number in range(10):
            data = random_bytes((repo, number), 100_000)
            location = widowed[0].post(f"/v2/{repo}/blobs/uploads/").expect(202)["Location"]
            widowed[0].patch(location, body=data).expect(202)
            target = with_digest(location, digest_of(data))
            for reply in threads.map(lambda client: client.put(target), widowed):  # noqa: B023
                reply.expect(201)
