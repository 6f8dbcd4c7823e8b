"""Reading and deleting blobs over the wire: end-2, end-10."""

import pytest

from tests.oracle.content import digest_of, push_blob, random_bytes

SIZES = [2048, 65536, 65537, 1_500_000]
"""Answered from memory, at the edge of it, and streamed."""


@pytest.fixture(params=SIZES)
def blob(request, client, repo) -> tuple[str, bytes]:
    """A blob of each size: its URL and its bytes."""
    data = random_bytes((repo, request.param), request.param)
    return f"/v2/{repo}/blobs/{push_blob(client, repo, data)}", data


def test_get_gives_the_bytes_and_what_clients_check(client, blob):
    url, data = blob
    reply = client.get(url).expect(200)
    assert reply.body == data
    assert reply["Docker-Content-Digest"] == digest_of(data)
    assert reply["Content-Type"] == "application/octet-stream"
    assert reply["Docker-Distribution-Api-Version"] == "registry/2.0"
    assert reply["ETag"] == f'"{digest_of(data)}"'


def test_head_gives_the_headers_of_get_and_no_body(client, blob):
    url, data = blob
    got, head = client.get(url), client.head(url).expect(200)
    drop = {"Date"}
    assert [h for h in head.headers if h[0] not in drop] == [
        h for h in got.headers if h[0] not in drop
    ]
    assert head["Content-Length"] == str(len(data))
    assert head["Accept-Ranges"] == "bytes"
    with client.connect() as connection:
        connection.send(connection.head("HEAD", url) + connection.head("GET", "/v2/"))
        connection.read("HEAD").expect(200)
        assert connection.read("GET").expect(200).body == b"{}"


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        ("500-1499", 500, 1500),
        ("0-0", 0, 1),
        ("500-", 500, None),
        ("-500", -500, None),
        ("2000-99999999999", 2000, None),
        ("-99999999999", 0, None),
        ("0-", 0, None),
    ],
)
def test_a_range_is_sent_as_206(client, blob, asked, start, end):
    url, data = blob
    reply = client.get(url, ("Range", f"bytes={asked}")).expect(206)
    assert reply.body == data[start:end]
    first = start if start >= 0 else len(data) + start
    last = first + len(reply.body) - 1
    assert reply["Content-Range"] == f"bytes {first}-{last}/{len(data)}"
    assert reply["Docker-Content-Digest"] == digest_of(data)


@pytest.mark.parametrize("asked", ["5000000-10000000", "500-0", "99999999999-", "-0"])
def test_a_range_that_cannot_be_satisfied_gets_416_with_the_size(client, blob, asked):
    url, data = blob
    reply = client.get(url, ("Range", f"bytes={asked}")).refused(416, "SIZE_INVALID")
    assert reply["Content-Range"] == f"bytes */{len(data)}"


@pytest.mark.parametrize(
    "asked", ["bytes=a-b", "items=0-5", "bytes 0-5", "bytes=", "bytes=-", "bytes=--5", "0-5", ""]
)
def test_a_range_that_is_none_is_ignored(client, blob, asked):
    url, data = blob
    reply = client.get(url, ("Range", asked)).expect(200)
    assert reply.body == data
    assert reply.get("Content-Range") is None


@pytest.mark.parametrize("asked", ["0-1,4-5", "0-9, 100-109, -10", "0-0,0-0", "0-1,9999999-"])
def test_several_ranges_are_answered_as_containers_image_accepts_it(client, blob, asked):
    """Whole with 200; where only one of them fits, that one with 206 is as good."""
    url, data = blob
    reply = client.get(url, ("Range", f"bytes={asked}"))
    if asked == "0-1,9999999-" and reply.status == 206:
        assert reply.body == data[:2]
    else:
        assert reply.expect(200).body == data


def test_a_flood_of_ranges_costs_one_whole_answer(client, blob):
    """CVE-2011-3192."""
    url, data = blob
    flood = "bytes=" + ",".join(["0-0"] * 2000)
    assert client.get(url, ("Range", flood)).expect(200).body == data


def test_head_ignores_range(client, blob):
    """RFC 9110 §14.2: Range is defined for GET only."""
    url, data = blob
    head = client.head(url, ("Range", "bytes=0-9")).expect(200)
    assert head["Content-Length"] == str(len(data))


def test_if_range_with_the_etag_gives_the_range_and_with_another_the_whole(client, blob):
    url, data = blob
    part = ("Range", "bytes=10-19")
    etag = client.head(url)["ETag"]
    assert client.get(url, part, ("If-Range", etag)).expect(206).body == data[10:20]
    for other in (f'"{digest_of(b"other")}"', f"W/{etag}", "Tue, 15 Nov 1994 12:45:26 GMT"):
        assert client.get(url, part, ("If-Range", other)).expect(200).body == data


def test_if_none_match_with_the_etag_gives_304_without_a_body(client, blob):
    url, data = blob
    etag = client.head(url)["ETag"]
    for value in (etag, f"W/{etag}", "*", f'"x", {etag}'):
        for method in ("GET", "HEAD"):
            reply = client.request(method, url, [("If-None-Match", value)]).expect(304)
            assert reply["ETag"] == etag
    ranged = client.get(url, ("If-None-Match", etag), ("Range", "bytes=0-9"))
    ranged.expect(304)
    assert client.get(url, ("If-None-Match", '"other"')).expect(200).body == data


def test_if_match_with_another_etag_refuses_the_read(client, blob):
    """RFC 9110 §13.1.1: the method is not performed where the condition is false."""
    url, data = blob
    etag = client.head(url)["ETag"]
    client.get(url, ("If-Match", '"other"')).refused(412, "DENIED")
    assert client.get(url, ("If-Match", etag)).expect(200).body == data
    assert client.get(url, ("If-Match", "*")).expect(200).body == data


def test_the_empty_blob_has_a_length_of_zero(client, repo):
    url = f"/v2/{repo}/blobs/{push_blob(client, repo, b'')}"
    for method in ("GET", "HEAD"):
        reply = client.request(method, url).expect(200)
        assert reply["Content-Length"] == "0"
        assert reply.body == b""
    client.get(url, ("Range", "bytes=0-0")).refused(416, "SIZE_INVALID")


def test_no_compression_is_applied_to_blobs(client, repo):
    """containerd offers zstd and gzip; a blob is bytes."""
    data = b"a" * 100_000
    url = f"/v2/{repo}/blobs/{push_blob(client, repo, data)}"
    offered = ("Accept-Encoding", "zstd;q=1.0, gzip;q=0.8, deflate;q=0.5")
    reply = client.get(url, offered).expect(200)
    assert reply.body == data
    assert reply.get("Content-Encoding") is None


def test_a_blob_that_never_was_is_unknown(client, repo):
    digest = digest_of(repo.encode())
    client.get(f"/v2/{repo}/blobs/{digest}").refused(404, "BLOB_UNKNOWN")
    assert client.head(f"/v2/{repo}/blobs/{digest}").expect(404).body == b""
    client.delete(f"/v2/{repo}/blobs/{digest}").refused(404, "BLOB_UNKNOWN")


def test_a_blob_of_another_repository_is_unknown(client, repo, another):
    """CVE-2024-39897: a digest alone opens nothing."""
    digest = push_blob(client, repo, random_bytes(repo, 10))
    client.get(f"/v2/{another}/blobs/{digest}").refused(404, "BLOB_UNKNOWN")
    client.head(f"/v2/{another}/blobs/{digest}").expect(404)
    client.delete(f"/v2/{another}/blobs/{digest}").refused(404, "BLOB_UNKNOWN")


def test_a_deleted_blob_is_gone_at_once_and_can_be_pushed_again(client, repo):
    data = random_bytes(repo, 100_000)
    for _ in range(3):
        digest = push_blob(client, repo, data)
        url = f"/v2/{repo}/blobs/{digest}"
        assert client.get(url).expect(200).body == data
        client.delete(url).expect(202)
        client.head(url).expect(404)
        client.get(url).refused(404, "BLOB_UNKNOWN")
        client.delete(url).refused(404, "BLOB_UNKNOWN")


def test_a_reader_that_leaves_half_way_disturbs_nobody(client, blob):
    """C21: after many broken downloads each answer is still the one that was asked for."""
    url, data = blob
    for number in range(20):
        connection = client.connect()
        connection.send(connection.head("GET", url))
        connection.socket.recv(100 + number)
        connection.reset()
        assert client.get(url).expect(200).body == data
