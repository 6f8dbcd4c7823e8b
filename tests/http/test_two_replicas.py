"""Two replicas over one store and one Redis: what one acknowledged the other knows at once.

Every change is made through one and looked for through the other by the very next request.
"""

import os
import signal
import time

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


def start_both(request, store, registries, redis, data):
    """Two replicas over one empty store."""
    options = {"settings": {"COORDINATION__REDIS__URL": redis.url}}
    if store == "s3":
        options["settings"] |= request.getfixturevalue("minio").settings(f"replicas-{data.name}")
    else:
        options["data"] = data
    return registries(store, **options), registries(store, **options)


@pytest.fixture(scope="module", params=["filesystem", "s3"])
def servers(request, module_registry_server, module_redis_servers, tmp_path_factory):
    """Two processes and their Redis."""
    redis, data = module_redis_servers.server(), tmp_path_factory.mktemp("shared")
    return *start_both(request, request.param, module_registry_server, redis, data), redis


@pytest.fixture
def both(servers):
    with Client(servers[0].address) as one, Client(servers[1].address) as other:
        yield one, other


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


def test_redis_is_flushed_between_every_two_requests(servers, both, repo):
    redis = servers[2].client()
    push_blob(both[0], repo, b"{}")
    for number in range(10):
        for writer, reader in ways(both):
            manifest = image(b"{}", annotations={"number": f"{number}"})
            redis.flushall()
            put_manifest(writer, repo, "latest", manifest).expect(201)
            redis.flushall()
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


def test_replicas_serve_and_agree_without_redis(
    request, registry_server, redis_servers, tmp_path_factory, repo
):
    redis, data = redis_servers.server(), tmp_path_factory.mktemp("alone")
    servers = start_both(request, "s3", registry_server, redis, data)
    with Client(servers[0].address) as one, Client(servers[1].address) as other:
        push_blob(one, repo, b"{}")
        redis.kill()
        for number in range(4):
            for writer, reader in ways((one, other)):
                manifest = image(b"{}", annotations={"number": f"{number}"})
                put_manifest(writer, repo, "latest", manifest).expect(201)
                for client in (reader, writer):
                    reply = client.get(f"/v2/{repo}/manifests/latest").expect(200)
                    assert reply.body == manifest
                reader.get("/readyz").expect(200)
