"""Pushing blobs over the wire: end-4, end-5, end-6, end-11, end-13, end-14."""

import gzip
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.oracle.content import digest_of, push_blob, random_bytes, with_digest
from tests.oracle.wire import Client

MIB = 1024 * 1024


def begin(client: Client, repo: str, query: str = "") -> str:
    """Open a session; give its location."""
    return client.post(f"/v2/{repo}/blobs/uploads/{query}").expect(202)["Location"]


def settled(client: Client, location: str, seconds: float = 10) -> int:
    """Give the offset after the server has noticed that the last writer is gone."""
    deadline = time.monotonic() + seconds
    while (reply := client.patch(location, body=b"")).status != 202:
        reply.refused(416, "BLOB_UPLOAD_INVALID")
        assert time.monotonic() < deadline, "the session stays locked"
        time.sleep(0.05)
    if reply["Range"] != "0-0":
        return int(reply["Range"].removeprefix("0-")) + 1
    # No byte or one: a chunk that can't fit is told.
    misplaced = client.patch(location, ("Content-Range", "9-9"), body=b"x")
    return int(
        misplaced.refused(416, "BLOB_UPLOAD_INVALID").json()["errors"][0]["detail"]["offset"]
    )


def content(client: Client, repo: str, digest: str) -> bytes:
    """Read a blob back."""
    return client.get(f"/v2/{repo}/blobs/{digest}").expect(200).body


# --- end-4a, end-6: POST, then PUT ----------------------------------------------------------


def test_post_opens_a_session_with_a_relative_location(client, repo):
    reply = client.post(f"/v2/{repo}/blobs/uploads/").expect(202)
    assert reply["Location"].startswith(f"/v2/{repo}/blobs/uploads/")
    assert reply["Range"] == "0-0"
    assert reply["Docker-Upload-UUID"] in reply["Location"]
    assert reply["Content-Length"] == "0"


def test_post_works_with_and_without_the_last_slash(client, repo):
    for target in (f"/v2/{repo}/blobs/uploads", f"/v2/{repo}/blobs/uploads/"):
        assert client.post(target).expect(202)["Location"]


def test_post_then_put_with_the_whole_body_stores_the_blob(client, repo):
    data = random_bytes(repo, 5000)
    digest = digest_of(data)
    reply = client.put(with_digest(begin(client, repo), digest), body=data).expect(201)
    assert reply["Location"] == f"/v2/{repo}/blobs/{digest}"
    assert reply["Docker-Content-Digest"] == digest
    assert client.get(reply["Location"]).expect(200).body == data


@pytest.mark.parametrize("size", [0, 1, 65536, 65537, 3 * MIB + 17])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_blob_of_any_size_comes_back_byte_for_byte(client, repo, size, chunked):
    data = random_bytes((repo, size), size)
    digest = digest_of(data)
    pieces = iter([data[:1000], data[1000:]]) if chunked else data
    client.put(with_digest(begin(client, repo), digest), body=pieces).expect(201)
    reply = client.get(f"/v2/{repo}/blobs/{digest}").expect(200)
    assert reply.body == data
    assert client.head(f"/v2/{repo}/blobs/{digest}").expect(200)["Content-Length"] == str(size)


def test_put_with_another_digest_is_refused_and_stores_nothing(client, repo):
    data, wrong = random_bytes(repo, 100), digest_of(b"other")
    client.put(with_digest(begin(client, repo), wrong), body=data).refused(400, "DIGEST_INVALID")
    for digest in (wrong, digest_of(data)):
        client.get(f"/v2/{repo}/blobs/{digest}").refused(404, "BLOB_UNKNOWN")


def test_put_with_another_digest_after_patch_is_refused_and_stores_nothing(client, repo):
    data, wrong = random_bytes(repo, 100), digest_of(b"other")
    location = client.patch(begin(client, repo), body=data).expect(202)["Location"]
    client.put(with_digest(location, wrong)).refused(400, "DIGEST_INVALID")
    for digest in (wrong, digest_of(data)):
        client.get(f"/v2/{repo}/blobs/{digest}").refused(404, "BLOB_UNKNOWN")


def test_put_without_a_digest_is_refused_and_the_session_stays(client, repo):
    location = begin(client, repo)
    client.put(location, body=b"data").refused(400, "DIGEST_INVALID")
    client.put(with_digest(location, digest_of(b"data")), body=b"data").expect(201)


def test_put_repeated_after_its_answer_was_lost_succeeds_again(client, repo):
    data = random_bytes(repo, 300)
    target = with_digest(begin(client, repo), digest_of(data))
    client.put(target, body=data).expect(201)
    client.put(target, body=data).expect(201)
    location = client.patch(begin(client, repo), body=data).expect(202)["Location"]
    target = with_digest(location, digest_of(data))
    client.put(target).expect(201)
    client.put(target).expect(201)


@pytest.mark.parametrize("ranged", [False, True])
def test_put_of_the_last_chunk_succeeds_again_and_of_another_does_not(client, repo, ranged):
    data, half = random_bytes(repo, 200_000), 100_000
    more = [("Content-Range", f"{half}-{len(data) - 1}")] if ranged else []
    location = client.patch(begin(client, repo), body=data[:half]).expect(202)["Location"]
    target = with_digest(location, digest_of(data))
    for _ in range(3):
        client.put(target, *more, body=data[half:]).expect(201)
        assert content(client, repo, digest_of(data)) == data
    client.get(location).refused(404, "BLOB_UPLOAD_UNKNOWN")
    location = client.patch(begin(client, repo), body=data[:half]).expect(202)["Location"]
    target = with_digest(location, digest_of(data))
    client.put(target, *more, body=bytes(half)).refused(400, "DIGEST_INVALID")
    client.put(target, *more, body=data[half:]).refused(404, "BLOB_UPLOAD_UNKNOWN")
    assert content(client, repo, digest_of(data)) == data


def test_a_session_that_was_finished_is_unknown(client, repo):
    location = begin(client, repo)
    client.put(with_digest(location, digest_of(b"x")), body=b"x").expect(201)
    client.get(location).refused(404, "BLOB_UPLOAD_UNKNOWN")
    client.patch(location, body=b"y").refused(404, "BLOB_UPLOAD_UNKNOWN")
    client.delete(location).refused(404, "BLOB_UPLOAD_UNKNOWN")


# --- end-4b: POST with the digest -----------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 100_000, 2 * MIB])
def test_post_with_digest_and_body_stores_the_blob_at_once(client, repo, size):
    data = random_bytes((repo, size), size)
    digest = digest_of(data)
    reply = client.post(f"/v2/{repo}/blobs/uploads/?digest={digest}", body=data).expect(201)
    assert reply["Location"] == f"/v2/{repo}/blobs/{digest}"
    assert reply["Docker-Content-Digest"] == digest
    assert content(client, repo, digest) == data


def test_post_with_digest_takes_a_chunked_body(client, repo):
    data = random_bytes(repo, 100_000)
    target = f"/v2/{repo}/blobs/uploads/?digest={digest_of(data)}"
    client.post(target, body=iter([data[:10], data[10:]])).expect(201)
    assert content(client, repo, digest_of(data)) == data


def test_post_with_another_digest_is_refused_and_stores_nothing(client, repo):
    wrong = digest_of(b"other")
    target = f"/v2/{repo}/blobs/uploads/?digest={wrong}"
    client.post(target, body=b"data").refused(400, "DIGEST_INVALID")
    client.get(f"/v2/{repo}/blobs/{wrong}").refused(404, "BLOB_UNKNOWN")


# --- end-4c and sha512 ----------------------------------------------------------------------


def test_digest_algorithm_opens_a_session_for_sha512(client, repo):
    data = random_bytes(repo, 200_000)
    digest = digest_of(data, "sha512")
    location = begin(client, repo, "?digest-algorithm=sha512")
    location = client.patch(location, body=data[:70_000]).expect(202)["Location"]
    reply = client.put(with_digest(location, digest), body=data[70_000:]).expect(201)
    assert reply["Docker-Content-Digest"] == digest
    assert content(client, repo, digest) == data


def test_sha512_may_be_named_only_at_the_closing_put(client, repo):
    data = random_bytes(repo, 200_000)
    digest = digest_of(data, "sha512")
    location = client.patch(begin(client, repo), body=data).expect(202)["Location"]
    reply = client.put(with_digest(location, digest)).expect(201)
    assert reply["Docker-Content-Digest"] == digest
    assert content(client, repo, digest) == data
    client.get(f"/v2/{repo}/blobs/{digest_of(data)}").refused(404, "BLOB_UNKNOWN")


def test_sha512_works_with_post_and_digest(client, repo):
    digest = digest_of(b"data", "sha512")
    client.post(f"/v2/{repo}/blobs/uploads/?digest={digest}", body=b"data").expect(201)
    assert content(client, repo, digest) == b"data"


# --- end-5: PATCH ---------------------------------------------------------------------------


def test_a_streamed_patch_without_length_and_range_is_taken(client, repo):
    data = random_bytes(repo, MIB + 5)
    location = begin(client, repo)
    pieces = (data[at : at + 50_000] for at in range(0, len(data), 50_000))
    reply = client.patch(location, body=pieces).expect(202)
    assert reply["Range"] == f"0-{len(data) - 1}"
    client.put(with_digest(reply["Location"], digest_of(data))).expect(201)
    assert content(client, repo, digest_of(data)) == data


def test_a_patch_with_content_length_and_no_range_is_taken(client, repo):
    """podman sends a whole layer so."""
    data = random_bytes(repo, 300_000)
    reply = client.patch(begin(client, repo), body=data).expect(202)
    assert reply["Range"] == f"0-{len(data) - 1}"
    client.put(with_digest(reply["Location"], digest_of(data))).expect(201)


def test_chunks_in_order_make_one_blob(client, repo):
    data = random_bytes(repo, 250_001)
    location = begin(client, repo)
    for at in range(0, len(data), 100_000):
        chunk = data[at : at + 100_000]
        reply = client.patch(
            location, ("Content-Range", f"{at}-{at + len(chunk) - 1}"), body=chunk
        ).expect(202)
        location = reply["Location"]
        assert reply["Range"] == f"0-{at + len(chunk) - 1}"
    client.put(with_digest(location, digest_of(data))).expect(201)
    assert content(client, repo, digest_of(data)) == data


def test_the_last_chunk_may_come_with_the_closing_put(client, repo):
    data = random_bytes(repo, 5000)
    location = client.patch(
        begin(client, repo), ("Content-Range", "0-2999"), body=data[:3000]
    ).expect(202)["Location"]
    client.put(
        with_digest(location, digest_of(data)), ("Content-Range", "3000-4999"), body=data[3000:]
    ).expect(201)
    assert content(client, repo, digest_of(data)) == data


def test_a_content_range_in_rfc_9110_form_is_taken(client, repo):
    location = begin(client, repo)
    client.patch(location, ("Content-Range", "bytes 0-2/*"), body=b"abc").expect(202)
    client.patch(location, ("Content-Range", "bytes 3-5/6"), body=b"def").expect(202)
    client.put(with_digest(location, digest_of(b"abcdef"))).expect(201)


@pytest.mark.parametrize("start", [1, 3, 10**15])
def test_a_chunk_that_does_not_start_at_the_offset_gets_416_with_the_offset(client, repo, start):
    location = begin(client, repo)
    client.patch(location, ("Content-Range", "0-3"), body=b"abcd").expect(202)
    wrong = ("Content-Range", f"{start}-{start + 3}")
    reply = client.patch(location, wrong, body=b"efgh").refused(416, "BLOB_UPLOAD_INVALID")
    assert reply["Range"] == "0-3"
    client.patch(location, ("Content-Range", "4-7"), body=b"efgh").expect(202)
    client.put(with_digest(location, digest_of(b"abcdefgh"))).expect(201)


def test_a_first_chunk_out_of_order_gets_416_and_the_session_stays(client, repo):
    location = begin(client, repo)
    wrong = ("Content-Range", "4-7")
    client.patch(location, wrong, body=b"efgh").refused(416, "BLOB_UPLOAD_INVALID")
    assert client.get(location).expect(204)["Range"] == "0-0"
    client.put(with_digest(location, digest_of(b"abcd")), body=b"abcd").expect(201)


def test_a_rewind_to_the_start_gets_416_and_changes_nothing(client, repo):
    location = begin(client, repo)
    first = ("Content-Range", "0-3")
    client.patch(location, first, body=b"abcd").expect(202)
    client.patch(location, first, body=b"wxyz").refused(416, "BLOB_UPLOAD_INVALID")
    client.put(with_digest(location, digest_of(b"abcd"))).expect(201)


@pytest.mark.parametrize("content_range", ["0-3", "5-8"])
def test_a_closing_put_out_of_order_gets_416_and_the_session_stays(client, repo, content_range):
    location = client.patch(begin(client, repo), body=b"abcd").expect(202)["Location"]
    target = with_digest(location, digest_of(b"abcdefgh"))
    reply = client.put(target, ("Content-Range", content_range), body=b"efgh")
    reply.refused(416, "BLOB_UPLOAD_INVALID")
    assert client.get(target).expect(204)["Range"] == "0-3"
    client.put(target, ("Content-Range", "4-7"), body=b"efgh").expect(201)


def test_a_content_range_that_disagrees_with_the_length_gets_416_before_any_byte(client, repo):
    location = begin(client, repo)
    reply = client.patch(location, ("Content-Range", "0-9"), body=b"abcd")
    reply.refused(416, "BLOB_UPLOAD_INVALID")
    assert client.get(location).expect(204)["Range"] == "0-0"
    client.put(with_digest(location, digest_of(b"abcd")), body=b"abcd").expect(201)


@pytest.mark.parametrize(("content_range", "kept"), [("0-2", 3), ("0-9", 4)])
def test_a_streamed_chunk_is_never_taken_beyond_its_content_range(
    client, repo, content_range, kept
):
    location = begin(client, repo)
    reply = client.patch(location, ("Content-Range", content_range), body=iter([b"ab", b"cd"]))
    reply.refused(416, "BLOB_UPLOAD_INVALID")
    assert client.get(location).expect(204)["Range"] == f"0-{kept - 1}"
    client.put(with_digest(location, digest_of(b"abcd")), body=b"abcd"[kept:]).expect(201)


def test_a_gzip_content_encoding_is_stored_as_sent(client, repo):
    """Blobs are opaque: a body that says it is compressed is not unpacked."""
    data = gzip.compress(random_bytes(repo, 1000))
    encoding = ("Content-Encoding", "gzip")
    client.put(with_digest(begin(client, repo), digest_of(data)), encoding, body=data).expect(201)
    reply = client.get(f"/v2/{repo}/blobs/{digest_of(data)}", ("Accept-Encoding", "gzip"))
    assert reply.expect(200).body == data
    assert reply.get("Content-Encoding") is None


def test_an_empty_patch_is_taken(client, repo):
    location = begin(client, repo)
    client.patch(location, body=b"").expect(202)
    client.patch(location, body=iter([])).expect(202)
    client.put(with_digest(location, digest_of(b""))).expect(201)
    assert content(client, repo, digest_of(b"")) == b""


# --- end-13, end-14: status and cancel ------------------------------------------------------


def test_status_tells_what_was_received(client, repo):
    location = begin(client, repo)
    assert client.get(location).expect(204)["Range"] == "0-0"
    client.patch(location, body=b"a" * 1000).expect(202)
    reply = client.get(location).expect(204)
    assert reply["Range"] == "0-999"
    assert reply["Location"].startswith(f"/v2/{repo}/blobs/uploads/")
    assert reply["Docker-Upload-UUID"]


def test_cancel_ends_the_session(client, repo):
    location = client.patch(begin(client, repo), body=b"abcd").expect(202)["Location"]
    client.delete(location).expect(204)
    for reply in (
        client.get(location),
        client.patch(location, body=b"x"),
        client.put(with_digest(location, digest_of(b"abcd"))),
        client.delete(location),
    ):
        reply.refused(404, "BLOB_UPLOAD_UNKNOWN")


def test_cancel_frees_the_space_of_what_was_sent(serve, tmp_path):
    local = serve("filesystem")
    with local.client() as client:
        before = local.census()
        location = client.patch(begin(client, "a/b"), body=b"x" * MIB).expect(202)["Location"]
        client.delete(location).expect(204)
        left = {key: kept for key, kept in local.census().items() if key not in before}
        assert all("uploads/" in key for key in left), "the bytes are gone"
        client.get(location).refused(404, "BLOB_UPLOAD_UNKNOWN")


@pytest.mark.parametrize("method", ["GET", "PATCH", "PUT", "DELETE"])
def test_a_foreign_session_is_unknown(client, repo, another, method):
    """CVE-2026-32589: knowing a session's id gives nothing in another repository."""
    location = begin(client, repo)
    foreign = with_digest(location.replace(repo, another), digest_of(b"evil"))
    body = b"evil" if method in ("PATCH", "PUT") else None
    reply = client.request(method, foreign, body=body)
    reply.refused(404, "BLOB_UPLOAD_UNKNOWN")
    assert client.get(location).expect(204)["Range"] == "0-0"
    client.put(with_digest(location, digest_of(b"abcd")), body=b"abcd").expect(201)


@pytest.mark.parametrize(
    "spelling",
    [
        lambda session: session.upper(),
        lambda session: f"{session[:8]}-{session[8:]}",
        lambda session: "0" * 64,
        lambda session: session + "0",
        lambda session: session[:-1],
        lambda session: "..",
        lambda session: "%2e%2e",
        lambda session: "readiness",
    ],
)
def test_other_spellings_of_a_session_are_unknown(client, repo, spelling):
    location = begin(client, repo)
    stem, _, session = location.partition("?")[0].rpartition("/")
    if not any(character in "abcdef" for character in session):
        pytest.skip("this id has no letters")
    client.get(f"{stem}/{spelling(session)}").refused(404, "BLOB_UPLOAD_UNKNOWN")


# --- resume ---------------------------------------------------------------------------------


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("chunked", [False, True])
def test_an_upload_goes_on_after_a_dropped_connection(client, repo, reset, chunked):
    data = random_bytes(repo, 3 * MIB)
    location = begin(client, repo)
    connection = client.connect()
    framing = ("Transfer-Encoding", "chunked") if chunked else ("Content-Length", str(len(data)))
    connection.send(connection.head("PATCH", location, [framing]))
    half = data[: 2 * MIB + 77]
    connection.send(b"%x\r\n%b\r\n" % (len(half), half) if chunked else half)
    time.sleep(0.1)
    connection.reset() if reset else connection.close()
    offset = settled(client, location)
    assert 0 < offset <= len(half)
    rest = data[offset:]
    client.patch(location, ("Content-Range", f"{offset}-{len(data) - 1}"), body=rest).expect(202)
    client.put(with_digest(location, digest_of(data))).expect(201)
    assert content(client, repo, digest_of(data)) == data


def test_an_upload_goes_on_after_a_closing_put_was_dropped(client, repo):
    data = random_bytes(repo, 2 * MIB)
    location = begin(client, repo)
    target = with_digest(location, digest_of(data))
    with client.connect() as connection:
        connection.send(connection.head("PUT", target, [("Content-Length", str(len(data)))]))
        connection.send(data[:MIB])
        time.sleep(0.1)
    offset = settled(client, location)
    client.get(f"/v2/{repo}/blobs/{digest_of(data)}").refused(404, "BLOB_UNKNOWN")
    content_range = ("Content-Range", f"{offset}-{len(data) - 1}")
    client.put(target, content_range, body=data[offset:]).expect(201)
    assert content(client, repo, digest_of(data)) == data


@pytest.mark.parametrize("pause", [0.0, 0.2], ids=["at-once", "in-two-segments"])
def test_a_broken_transfer_coding_is_refused_at_once_and_the_session_stays(client, repo, pause):
    """A chunk-size line that is no number ends the connection; nobody waits for a time-out."""
    location = begin(client, repo)
    with client.connect() as connection:
        head = connection.head("PATCH", location, [("Transfer-Encoding", "chunked")])
        connection.send(head + b"4\r\nabcd\r\n" + (b"" if pause else b"zz\r\n"))
        if pause:
            time.sleep(pause)
            connection.send(b"zz\r\n")
        connection.socket.settimeout(3)
        try:
            reply = connection.read("PATCH").expect(400)
        except TimeoutError:
            pytest.fail("the server waits for more of a body that can't be read")
        reply.code()
        assert connection.ended()
    offset = settled(client, location)
    client.put(with_digest(location, digest_of(b"abcdef")), body=b"abcdef"[offset:]).expect(201)


# --- end-11: mounts -------------------------------------------------------------------------


def test_a_blob_is_mounted_from_the_named_repository(client, repo, another):
    digest = push_blob(client, repo, random_bytes(repo, 1000))
    target = f"/v2/{another}/blobs/uploads/?mount={digest}&from={repo}"
    reply = client.post(target).expect(201)
    assert reply["Location"] == f"/v2/{another}/blobs/{digest}"
    assert reply["Docker-Content-Digest"] == digest
    assert content(client, another, digest) == random_bytes(repo, 1000)


def test_without_a_source_a_blob_is_mounted_from_the_same_project(client, repo, another):
    digest = push_blob(client, repo, random_bytes(repo, 1000))
    reply = client.post(f"/v2/{another}/blobs/uploads/?mount={digest}").expect(201)
    assert reply["Location"] == f"/v2/{another}/blobs/{digest}"
    assert content(client, another, digest) == random_bytes(repo, 1000)


def test_without_a_source_nothing_is_mounted_from_another_project(client, repo):
    digest = push_blob(client, f"elsewhere-{repo}", random_bytes(repo, 10))
    client.post(f"/v2/{repo}/blobs/uploads/?mount={digest}").expect(202)


def test_a_mount_into_the_repository_that_has_the_blob_succeeds(client, repo):
    digest = push_blob(client, repo, random_bytes(repo, 10))
    client.post(f"/v2/{repo}/blobs/uploads/?mount={digest}&from={repo}").expect(201)


@pytest.mark.parametrize(
    "source", ["&from={other}", "&from=never/seen", "", "&from=../../etc", "&from=UPPER", "&from="]
)
def test_a_mount_that_is_not_possible_becomes_an_upload(client, repo, another, source):
    push_blob(client, another, b"something else")
    data = random_bytes((repo, source), 500)
    query = f"?mount={digest_of(data)}{source.format(other=another)}"
    reply = client.post(f"/v2/{repo}/blobs/uploads/{query}").expect(202)
    client.put(with_digest(reply["Location"], digest_of(data)), body=data).expect(201)
    assert content(client, repo, digest_of(data)) == data


def test_a_mount_from_a_repository_that_lost_the_blob_becomes_an_upload(client, repo, another):
    digest = push_blob(client, another, random_bytes(repo, 10))
    client.delete(f"/v2/{another}/blobs/{digest}").expect(202)
    client.post(f"/v2/{repo}/blobs/uploads/?mount={digest}&from={another}").expect(202)
    client.post(f"/v2/{repo}/blobs/uploads/?mount={digest}").expect(202)


def test_a_mounted_blob_outlives_its_source(client, repo, another):
    """C10, CVE-2026-35172: deletion concerns one repository, in both directions."""
    data = random_bytes(repo, 70_000)
    digest = push_blob(client, repo, data)
    client.post(f"/v2/{another}/blobs/uploads/?mount={digest}&from={repo}").expect(201)
    client.delete(f"/v2/{repo}/blobs/{digest}").expect(202)
    for _ in range(2):
        client.get(f"/v2/{repo}/blobs/{digest}").refused(404, "BLOB_UNKNOWN")
        assert content(client, another, digest) == data
    client.delete(f"/v2/{another}/blobs/{digest}").expect(202)
    client.get(f"/v2/{another}/blobs/{digest}").refused(404, "BLOB_UNKNOWN")


# --- several at once ------------------------------------------------------------------------


def test_of_two_writers_of_one_session_the_second_gets_416_and_bytes_never_mix(registry, repo):
    """C2: the first holds the session; what the second sent is not taken."""
    first, second = b"a" * 200_000, b"b" * 200_000
    with registry.client() as client, client.connect() as slow:
        location = begin(client, repo)
        slow.send(slow.head("PATCH", location, [("Content-Length", str(len(first)))]))
        slow.send(first[:100_000])
        time.sleep(0.2)
        client.patch(location, body=second).refused(416, "BLOB_UPLOAD_INVALID")
        slow.send(first[100_000:])
        slow.read("PATCH").expect(202)
        client.put(with_digest(location, digest_of(first))).expect(201)


def test_one_digest_pushed_by_many_at_once_succeeds_for_all(registry, repo):
    """C3: whoever is first, each gets 201 and the bytes are whole."""
    data = random_bytes(repo, 300_000)
    digest = digest_of(data)
    ready = threading.Barrier(8)

    def push(number: int) -> int:
        with registry.client() as client:
            name = repo if number % 2 else f"{repo}/other"
            target = with_digest(begin(client, name), digest)
            ready.wait()
            return client.put(target, body=data).status

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(push, range(8))) == [201] * 8
    with registry.client() as client:
        assert content(client, repo, digest) == data
        assert content(client, f"{repo}/other", digest) == data


def test_sixteen_blobs_pushed_at_once_in_pieces_all_arrive(registry, repo):
    def push(number: int) -> None:
        data = random_bytes((repo, number), 150_000 + number)
        with registry.client(fresh=True) as client:
            location = begin(client, repo)
            for at in range(0, len(data), 40_000):
                chunk = data[at : at + 40_000]
                client.patch(
                    location, ("Content-Range", f"{at}-{at + len(chunk) - 1}"), body=chunk
                ).expect(202)
            client.put(with_digest(location, digest_of(data))).expect(201)
            assert content(client, repo, digest_of(data)) == data

    with ThreadPoolExecutor(16) as threads:
        list(threads.map(push, range(16)))
