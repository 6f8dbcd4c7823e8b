"""Blobs that the store serves itself: 307 with a presigned URL."""

import dataclasses
from urllib.parse import urlsplit

import pytest

from registry.service.redirects import Redirects
from tests.fixtures.stores import settings_of
from tests.oracle.content import digest_of, push_blob, random_bytes
from tests.oracle.wire import Client

LARGE, SMALL = 1_500_000, 65_536


@pytest.fixture(scope="module")
def settings(minio):
    return settings_of(minio)


@pytest.fixture
def redirecting(serve, settings):
    """A registry that redirects, in all repositories but one."""

    def redirects(store):
        return Redirects(store, 60, lambda place: "kept-home" not in place)

    return serve("s3", s3=settings, redirects=redirects)


def follow(reply, *headers):
    """GET what a redirect leads to, with nothing of the first request but the range."""
    target = urlsplit(reply.expect(307)["Location"])
    with Client(target.netloc) as store:
        return store.get(f"{target.path}?{target.query}", *headers)


@pytest.fixture
def large(redirecting):
    data = random_bytes("large", LARGE)
    with redirecting.client() as client:
        yield client, f"/v2/project/env/blobs/{push_blob(client, 'project/env', data)}", data


def test_a_large_blob_is_fetched_from_the_store(large):
    client, url, data = large
    reply = client.get(url).expect(307)
    assert reply.body == b""
    assert reply["Docker-Content-Digest"] == digest_of(data)
    assert reply["Cache-Control"] == "no-store"
    got = follow(reply).expect(200)
    assert got.body == data
    assert got["Content-Type"] == "application/octet-stream"


@pytest.mark.parametrize(
    ("asked", "start", "end"), [("0-99", 0, 100), ("1000000-", 1_000_000, None), ("-5", -5, None)]
)
def test_a_range_is_answered_by_the_store(large, asked, start, end):
    client, url, data = large
    part = ("Range", f"bytes={asked}")
    assert follow(client.get(url, part), part).expect(206).body == data[start:end]


def test_a_range_outside_is_refused_before_the_redirect(large):
    client, url, _ = large
    client.get(url, ("Range", "bytes=9999999-")).refused(416, "SIZE_INVALID")


def test_head_is_answered_by_the_registry(large):
    client, url, data = large
    assert client.head(url).expect(200)["Content-Length"] == str(len(data))


def test_what_the_client_has_is_not_fetched_again(large):
    client, url, data = large
    client.get(url, ("If-None-Match", f'"{digest_of(data)}"')).expect(304)


def test_a_client_may_ask_for_the_bytes_from_the_registry(large):
    client, url, data = large
    for word in ("never", " Never "):
        assert client.get(url, ("Moorage-Redirect", word)).expect(200).body == data
    client.get(url, ("Moorage-Redirect", "gladly")).expect(307)


def test_what_the_store_would_answer_otherwise_is_not_redirected(large):
    client, url, data = large
    etag = client.head(url)["ETag"]
    part = ("Range", "bytes=0-9")
    assert client.get(url, ("Range", "bytes=0-1,5-6")).expect(200).body == data
    assert client.get(url, part, ("If-Range", etag)).expect(206).body == data[:10]
    assert client.get(url, part, ("If-Range", '"other"')).expect(200).body == data


def test_small_blobs_are_answered_at_once(redirecting):
    data = random_bytes("small", SMALL)
    with redirecting.client() as client:
        digest = push_blob(client, "project/env", data)
        assert client.get(f"/v2/project/env/blobs/{digest}").expect(200).body == data


def test_a_repository_may_be_kept_out_of_it(redirecting):
    data = random_bytes("large", LARGE)
    with redirecting.client() as client:
        digest = push_blob(client, "kept-home/env", data)
        assert client.get(f"/v2/kept-home/env/blobs/{digest}").expect(200).body == data


def test_a_url_is_good_for_its_blob_only_and_not_for_writing(large):
    client, url, _ = large
    target = urlsplit(client.get(url)["Location"])
    with Client(target.netloc) as store:
        other = target.path[:-1] + ("0" if target.path[-1] != "0" else "1")
        assert store.get(f"{other}?{target.query}").status == 403
        for method in ("PUT", "DELETE"):
            assert store.request(method, f"{target.path}?{target.query}").status == 403
    assert follow(client.get(url)).status == 200


def test_the_public_endpoint_stands_in_the_url(serve, settings):
    public = dataclasses.replace(settings, public_endpoint="https://blobs.example.org:9443")
    registry = serve("s3", s3=public, redirects=lambda store: Redirects(store, 60))
    data = random_bytes("large", LARGE)
    with registry.client() as client:
        url = f"/v2/project/env/blobs/{push_blob(client, 'project/env', data)}"
        location = client.get(url).expect(307)["Location"]
    assert location.startswith(f"https://blobs.example.org:9443/{settings.bucket}/data/")
    assert "X-Amz-Expires=60" in location


def test_without_the_setting_nothing_is_redirected(serve, settings):
    data = random_bytes("large", LARGE)
    with serve("s3", s3=settings).client() as client:
        url = f"/v2/project/env/blobs/{push_blob(client, 'project/env', data)}"
        assert client.get(url).expect(200).body == data
