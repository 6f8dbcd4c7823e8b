"""HTTP itself: framing, methods, paths, refusals, and what no client's words may change."""

import gzip
import time

import pytest

from registry.http.limits import Limits
from tests.oracle.content import digest_of, image, push_blob, push_image, random_bytes, with_digest

SESSION = "0" * 64
DIGEST = digest_of(b"never")


def test_the_api_answers_at_its_root_with_and_without_the_last_slash(client):
    for target in ("/v2/", "/v2"):
        reply = client.get(target).expect(200)
        assert reply.json() == {}
        assert reply["Docker-Distribution-Api-Version"] == "registry/2.0"
        head = client.head(target).expect(200)
        assert head["Content-Length"] == str(len(reply.body))


@pytest.mark.parametrize("target", ["/", "/healthz", "/readyz"])
def test_probes_are_answered(client, target):
    client.get(target).expect(200)
    client.head(target).expect(200)


@pytest.mark.parametrize(
    ("method", "target", "allowed"),
    [
        ("POST", "/v2/", {"GET", "HEAD"}),
        ("PUT", "/v2/_catalog", {"GET", "HEAD"}),
        ("POST", "/v2/a/b/tags/list", {"GET", "HEAD"}),
        ("DELETE", f"/v2/a/b/referrers/{DIGEST}", {"GET", "HEAD"}),
        ("PATCH", f"/v2/a/b/blobs/{DIGEST}", {"GET", "HEAD", "DELETE"}),
        ("PUT", f"/v2/a/b/blobs/{DIGEST}", {"GET", "HEAD", "DELETE"}),
        ("GET", "/v2/a/b/blobs/uploads/", {"POST"}),
        ("DELETE", "/v2/a/b/blobs/uploads", {"POST"}),
        ("POST", f"/v2/a/b/blobs/uploads/{SESSION}", {"GET", "HEAD", "PATCH", "PUT", "DELETE"}),
        ("PATCH", "/v2/a/b/manifests/v1", {"GET", "HEAD", "PUT", "DELETE"}),
        ("OPTIONS", "/v2/a/b/manifests/v1", {"GET", "HEAD", "PUT", "DELETE"}),
        ("TRACE", "/v2/a/b/manifests/v1", {"GET", "HEAD", "PUT", "DELETE"}),
    ],
)
def test_another_method_gets_405_and_the_list_of_those_allowed(client, method, target, allowed):
    reply = client.request(method, target).refused(405, "UNSUPPORTED")
    assert set(reply["Allow"].split(", ")) == allowed


@pytest.mark.parametrize(
    "target",
    ["/v1/", "/v3/", "/v2x", "/v2/a", "/v2/a/b", "/v2/a/b/c/d", "/favicon.ico", "/v2/a/tags/list/"],
)
def test_a_path_outside_the_api_gets_404_in_json(client, target):
    client.get(target).refused(404, "UNSUPPORTED")


def test_each_refusal_names_its_request(client):
    first, second = (
        client.get("/v2/a/b/manifests/v1").refused(404, "MANIFEST_UNKNOWN") for _ in "ab"
    )
    assert first["X-Request-Id"] != second["X-Request-Id"]


def test_pipelined_requests_are_answered_in_order(client, repo):
    manifest = push_image(client, repo, repo, "v1")
    with client.connect() as connection:
        targets = ["/v2/", f"/v2/{repo}/manifests/v1", f"/v2/{repo}/tags/list", "/v2/a/manifests/x"]
        connection.send(b"".join(connection.head("GET", target) for target in targets * 5))
        for _ in range(5):
            assert connection.read().expect(200).body == b"{}"
            assert connection.read().expect(200).body == manifest
            assert connection.read().expect(200).json()["tags"] == ["v1"]
            connection.read().refused(404, "MANIFEST_UNKNOWN")


def test_a_whole_upload_may_be_pipelined_after_its_post(client, repo):
    data = random_bytes(repo, 1000)
    location = client.post(f"/v2/{repo}/blobs/uploads/").expect(202)["Location"]
    with client.connect() as connection:
        length = ("Content-Length", "500")
        connection.send(
            connection.head("PATCH", location, [length])
            + data[:500]
            + connection.head("PUT", with_digest(location, digest_of(data)), [length])
            + data[500:]
            + connection.head("GET", f"/v2/{repo}/blobs/{digest_of(data)}")
        )
        connection.read("PATCH").expect(202)
        connection.read("PUT").expect(201)
        assert connection.read().expect(200).body == data


def test_http_1_0_is_answered_and_the_connection_closed(client, repo):
    manifest = push_image(client, repo, repo, "v1")
    with client.connect() as connection:
        reply = connection.request("GET", f"/v2/{repo}/manifests/v1", version="1.0")
        assert reply.expect(200).body == manifest
        assert connection.ended()


def test_http_1_0_keeps_the_connection_when_it_is_asked_to(client):
    with client.connect() as connection:
        for _ in range(3):
            reply = connection.request("GET", "/v2/", [("Connection", "keep-alive")], version="1.0")
            assert reply.expect(200)["Connection"].lower() == "keep-alive"


def test_connection_close_is_obeyed(client):
    with client.connect() as connection:
        reply = connection.request("GET", "/v2/", [("Connection", "close")])
        assert reply.expect(200)["Connection"] == "close"
        assert connection.ended()


def test_a_request_that_comes_byte_by_byte_is_understood(client):
    with client.connect() as connection:
        for byte in connection.head("GET", "/v2/"):
            connection.send(bytes([byte]))
        connection.read().expect(200)


# --- Expect: 100-continue -------------------------------------------------------------------

EXPECT = ("Expect", "100-continue")


def test_an_upload_that_is_wanted_is_told_to_go_on(client, repo):
    data = random_bytes(repo, 100_000)
    location = client.post(f"/v2/{repo}/blobs/uploads/").expect(202)["Location"]
    with client.connect() as connection:
        target = with_digest(location, digest_of(data))
        connection.send(
            connection.head("PUT", target, [("Content-Length", str(len(data))), EXPECT])
        )
        assert connection.socket.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.send(data)
        assert connection.read("PUT").expect(201).interim == ()
    assert client.get(f"/v2/{repo}/blobs/{digest_of(data)}").expect(200).body == data


@pytest.mark.parametrize(
    ("method", "target", "headers", "status"),
    [
        ("PATCH", f"/v2/a/b/blobs/uploads/{SESSION}", {"Content-Length": "9000000"}, 404),
        ("PUT", f"/v2/a/b/blobs/uploads/{SESSION}?digest={DIGEST}", {"Content-Length": "9"}, 404),
        ("PUT", f"/v2/a/b/blobs/uploads/{SESSION}?digest=x", {"Content-Length": "9"}, 400),
        ("POST", "/v2/a/b/blobs/uploads/?digest=x", {"Content-Length": "9"}, 400),
        ("POST", f"/v2/A/b/blobs/uploads/?digest={DIGEST}", {"Content-Length": "9"}, 400),
        ("PUT", "/v2/a/b/manifests/v1", {"Content-Length": str(4 * 1024 * 1024 + 1)}, 413),
        ("PUT", "/v2/a/b/manifests/.bad", {"Content-Length": "9"}, 400),
        ("PUT", f"/v2/a/b/blobs/{DIGEST}", {"Content-Length": "9"}, 405),
    ],
)
def test_an_upload_that_is_refused_is_never_told_to_go_on(client, method, target, headers, status):
    with client.connect() as connection:
        connection.send(connection.head(method, target, [*headers.items(), EXPECT]))
        reply = connection.read(method).expect(status)  # waits less than the server does for a body
        assert reply.interim == ()
        reply.code()


def test_a_chunk_in_the_wrong_place_is_refused_before_it_is_sent(client, repo):
    location = client.post(f"/v2/{repo}/blobs/uploads/").expect(202)["Location"]
    with client.connect() as connection:
        headers = [("Content-Length", "4"), ("Content-Range", "4-7"), EXPECT]
        connection.send(connection.head("PATCH", location, headers))
        assert connection.read("PATCH").refused(416, "BLOB_UPLOAD_INVALID").interim == ()


def test_another_expectation_is_refused(client, repo):
    """RFC 9110 §10.1.1 has 417 for it; whatever 4xx it is, it is in JSON and quick."""
    location = client.post(f"/v2/{repo}/blobs/uploads/").expect(202)["Location"]
    reply = client.patch(location, ("Expect", "42-miracles"), body=b"data")
    assert 400 <= reply.status < 500 or reply.status == 202
    if reply.status != 202:
        reply.code()


# --- what is not HTTP -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "raw",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 40,  # TLS to a plain port
        b"GET\r\n\r\n",
        b"GET /v2/ HTTP/9.9\r\nHost: x\r\n\r\n",
        b"GET /v2/ HTTP/1.1\r\nHost: x\r\nBad Header: x\r\n\r\n",
        b"GET /v2/ HTTP/1.1\r\nHost: x\r\nX: a\x00b\r\n\r\n",
        b"POST /v2/a/blobs/uploads/ HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        (
            b"POST /v2/a/blobs/uploads/ HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n"
            b"Content-Length: 2\r\n\r\nab"
        ),
        (
            b"POST /v2/a/blobs/uploads/ HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        ),
        b"POST /v2/a/blobs/uploads/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"GET /v2/ HTTP/1.1\r\nHost: x\r\n folded: x\r\n\r\n",
    ],
)
def test_what_is_no_http_gets_400_in_json_and_the_connection_ends(client, raw):
    """Request smuggling included: two framings of one body are no request."""
    with client.connect() as connection:
        connection.send(raw)
        reply = connection.read("GET")
        assert reply.status == 400
        reply.code()
        assert reply.closes
        assert connection.ended()


def test_another_transfer_coding_is_refused_and_nothing_is_stored(client, repo):
    """RFC 9112 §6.1: it is not undone here, so what came is not what the client has."""
    location = client.post(f"/v2/{repo}/blobs/uploads/").expect(202)["Location"]
    squeezed = gzip.compress(b"data")
    coded = [("Transfer-Encoding", "gzip, chunked")]
    with client.connect() as connection:
        connection.send(connection.head("PATCH", location, coded))
        connection.send(b"%x\r\n%b\r\n0\r\n\r\n" % (len(squeezed), squeezed))
        connection.read("PATCH").refused(400, "UNSUPPORTED")
    assert client.get(location).expect(204)["Range"] == "0-0"
    reply = client.put(with_digest(location, digest_of(b"data")), body=b"data")
    reply.expect(201)


def test_headers_that_are_too_large_are_refused(client):
    with client.connect() as connection:
        reply = connection.request("GET", "/v2/", [("X-Large", "x" * 100_000)])
        assert reply.status in (400, 431)
        reply.code()


def test_a_request_line_that_is_too_long_is_refused(client):
    with client.connect() as connection:
        reply = connection.request("GET", "/v2/" + "a" * 100_000)
        assert reply.status in (400, 414, 431)
        reply.code()


# --- what must not depend on the client's words ---------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        [("X-Forwarded-Host", "evil.example"), ("X-Forwarded-Proto", "https")],
        [("Forwarded", "host=evil.example;proto=https")],
        [("Host", "evil.example")],
        [("X-Original-URL", "/v2/evil/blobs/uploads/"), ("X-Rewrite-URL", "/v2/evil")],
        [("X-Forwarded-Prefix", "/evil"), ("X-HTTP-Method-Override", "DELETE")],
    ],
)
def test_locations_and_links_are_relative_whatever_the_host_headers_say(client, repo, headers):
    data = random_bytes(repo, 10)
    location = client.post(f"/v2/{repo}/blobs/uploads/", *headers).expect(202)["Location"]
    assert location.startswith(f"/v2/{repo}/blobs/uploads/")
    location = client.patch(location, *headers, body=data).expect(202)["Location"]
    assert location.startswith(f"/v2/{repo}/blobs/uploads/")
    reply = client.put(with_digest(location, digest_of(data)), *headers).expect(201)
    assert reply["Location"] == f"/v2/{repo}/blobs/{digest_of(data)}"
    push_blob(client, repo, b"{}")
    for tag in ("a", "b"):
        manifest = image(b"{}")
        reply = client.put(
            f"/v2/{repo}/manifests/{tag}",
            ("Content-Type", "application/vnd.oci.image.manifest.v1+json"),
            *headers,
            body=manifest,
        ).expect(201)
        assert reply["Location"] == f"/v2/{repo}/manifests/{digest_of(manifest)}"
    reply = client.get(f"/v2/{repo}/tags/list?n=1", *headers).expect(200)
    assert reply["Link"].startswith(f"</v2/{repo}/tags/list?")


def test_an_absolute_request_target_is_answered_or_refused_never_misread(client):
    """RFC 9112 §3.2.2: proxies send it so."""
    reply = client.get(f"http://{client.address}/v2/")
    assert reply.status in (200, 400, 404)
    if reply.status != 200:
        reply.code()


# --- limits ---------------------------------------------------------------------------------


def test_a_client_that_trickles_its_body_is_given_408_and_what_came_is_kept(serve):
    local = serve("memory", limits=Limits(idle_seconds=0.6, slowest_bytes=1000))
    with local.client() as client:
        location = client.post("/v2/a/b/blobs/uploads/").expect(202)["Location"]
        with client.connect() as connection:
            connection.send(connection.head("PATCH", location, [("Content-Length", "100000")]))
            began = time.monotonic()
            connection.socket.settimeout(0.05)
            reply = None
            while reply is None and time.monotonic() < began + 60:
                try:
                    connection.send(b"x")
                    reply = connection.read("PATCH")
                except TimeoutError:
                    continue
            assert reply is not None, "a trickle of bytes holds the server for ever"
            reply.refused(408, "SIZE_INVALID")
        assert client.get(location).expect(204)["Range"] != "0-0"


def test_a_client_that_stops_reading_loses_its_connection(serve):
    local = serve("filesystem", limits=Limits(idle_seconds=0.5))
    with local.client() as client:
        data = random_bytes(0, 30_000_000)
        url = f"/v2/a/b/blobs/{push_blob(client, 'a/b', data)}"
        with client.connect() as stalled:
            stalled.send(stalled.head("GET", url))
            stalled.socket.recv(1000)
            assert client.get("/v2/").expect(200)
            deadline = time.monotonic() + 60
            while local.observed.running and time.monotonic() < deadline:
                time.sleep(0.05)
            assert local.observed.running == 0
            got = 1000
            try:
                while part := stalled.socket.recv(1 << 20):
                    got += len(part)
            except ConnectionResetError:
                pass
            assert got < len(data), "a client that does not read holds its connection for ever"


def test_a_storm_of_cancelled_requests_leaves_nothing_behind(registry, repo):
    """C21: what runs after it is what ran before it, and each answer is its own."""
    with registry.client() as client:
        manifest = push_image(client, repo, repo, "v1")
        data = random_bytes(repo, 300_000)
        digest = push_blob(client, repo, data)
        location = client.post(f"/v2/{repo}/blobs/uploads/").expect(202)["Location"]
        time.sleep(0.1)
        before = registry.tasks()
        for number in range(60):
            connection = registry.client().connect()
            kind = number % 4
            if kind == 0:
                connection.send(connection.head("GET", f"/v2/{repo}/blobs/{digest}"))
            elif kind == 1:
                head = connection.head("PATCH", location, [("Content-Length", "1000000")])
                connection.send(head + b"x" * 1000)
            elif kind == 2:
                connection.send(connection.head("GET", f"/v2/{repo}/manifests/v1") * 3)
            else:
                head = connection.head(
                    "POST",
                    f"/v2/{repo}/blobs/uploads/?digest={DIGEST}",
                    [("Content-Length", "1000000")],
                )
                connection.send(head + b"y" * 70_000)
            if number % 3:
                time.sleep(0.002)
            connection.reset()
            assert client.get(f"/v2/{repo}/manifests/v1").expect(200).body == manifest
        assert client.get(f"/v2/{repo}/blobs/{digest}").expect(200).body == data
        deadline = time.monotonic() + 60
        while registry.tasks() > before and time.monotonic() < deadline:
            time.sleep(0.05)
        assert registry.tasks() <= before
        assert client.delete(location).status == 204
