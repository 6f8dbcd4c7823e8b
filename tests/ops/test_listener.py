"""What a connection may take of the server: time, size, number; and how malformed input reads."""

import gzip
import json
import time
from hashlib import sha256

import pytest

from tests.ops.wire import (
    begin_patch,
    connect,
    error_code,
    eventually,
    get,
    read_all,
    read_answer,
    start_upload,
)

HEAD = 0.8
IDLE = 1.6
PATIENCE = 20
"""Seconds that a busy machine may be late by."""
CONFIG = f"""
[server]
head_seconds = {HEAD}
idle_seconds = {IDLE}
max_connections = 12
header_bytes = 8192
"""


@pytest.fixture(scope="module")
def server(module_registry_server, tmp_path_factory):
    file = tmp_path_factory.mktemp("config") / "a.toml"
    file.write_text(CONFIG)
    return module_registry_server("memory", arguments=["-c", str(file), "--log-level", "debug"])


def closed_after(sock):
    """Seconds until the server closes, and what it said before."""
    began = time.monotonic()
    said = read_all(sock)
    return time.monotonic() - began, said


def test_a_head_that_stops_half_way_is_answered_408_and_closed(server):
    with connect(server) as sock:
        sock.sendall(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n")
        seconds, said = closed_after(sock)
    assert HEAD * 0.5 < seconds < HEAD + PATIENCE
    assert said.startswith(b"HTTP/1.1 408 ")
    assert error_code(said.partition(b"\r\n\r\n")[2])


def test_a_silent_connection_is_closed_without_a_word(server):
    with connect(server) as sock:
        seconds, said = closed_after(sock)
    assert HEAD * 0.5 < seconds < HEAD + PATIENCE
    assert said == b""


def test_a_head_that_trickles_is_cut_off_too(server):
    """Slowloris: a byte now and then must not keep a connection."""
    with connect(server) as sock:
        began = time.monotonic()
        seconds = _trickle(sock, b"GET /v2/ HTTP/1.1\r\nHost: x\r\nX-Long: " + b"a" * 1000, began)
    assert HEAD * 0.5 < seconds < HEAD + PATIENCE


def _trickle(sock, head, began):
    """Send a byte now and then until the server has had enough; return how long that took."""
    sock.settimeout(0.05)
    for byte in head:
        try:
            sock.send(bytes([byte]))
            sock.recv(1)
            break
        except TimeoutError:
            continue
        except ConnectionError:
            break
    return time.monotonic() - began


def test_the_second_head_of_a_connection_must_come_in_time_too(server):
    with connect(server) as sock:
        sock.sendall(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n")
        assert read_answer(sock)[0] == 200
        time.sleep(0.1)  # bytes that come before the answer is done with have the idle time only
        sock.sendall(b"GET /v2/ HT")
        seconds, said = closed_after(sock)
    assert seconds > HEAD * 0.5
    assert said.startswith(b"HTTP/1.1 408 ")


def test_an_idle_connection_is_kept_for_its_time_and_then_closed(server):
    with connect(server) as sock:
        for pause in (0.0, HEAD + 0.3):
            time.sleep(pause)
            sock.sendall(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n")
            assert read_answer(sock)[0] == 200
        seconds, said = closed_after(sock)
    assert IDLE * 0.5 < seconds < IDLE + PATIENCE
    assert said == b""


def test_a_slow_body_is_not_a_slow_head(server):
    sock = begin_patch(server, start_upload(server), 4)
    with sock:
        for byte in b"slow":
            time.sleep((HEAD + IDLE) / 4)
            sock.sendall(bytes([byte]))
        status, headers, _ = read_answer(sock)
    assert status == 202
    assert headers["Range"] == "0-3"


@pytest.mark.parametrize(
    "head",
    [
        b"GET /v2/ HTTP/1.1\r\nHost: x\r\nX-Long: " + b"a" * 9000 + b"\r\n\r\n",
        b"GET /v2/ HTTP/1.1\r\nHost: x\r\nX-Long: " + b"a" * 200_000,
        b"GET /v2/ HTTP/1.1\r\nHost: x\r\n" + b"X-Many: 12345678901234567890\r\n" * 2000,
        b"GET /v2/" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
    ids=["one field", "unfinished", "many fields", "request line"],
)
def test_a_head_that_is_too_large_is_refused_in_the_api_shape(server, head):
    with connect(server) as sock:
        sock.sendall(head)
        said = read_all(sock)
    assert said.startswith((b"HTTP/1.1 431 ", b"HTTP/1.1 400 "))
    assert error_code(said.partition(b"\r\n\r\n")[2])


@pytest.mark.parametrize(
    "head",
    [
        b"GET /v2/ HTTP/1.1\r\nHost: x\r\nA: b\x00c\r\n\r\n",
        b"this is no HTTP\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET /v2/ HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"GET /v2/ HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"GET /v2/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n",
        b"GET /v2/ HTTP/1.1\r\nHost: x\r\n folded: a\r\n\r\n",
    ],
)
def test_malformed_http_is_answered_400_in_the_api_shape(server, head):
    with connect(server) as sock:
        sock.sendall(head)
        said = read_all(sock)
    assert said.startswith(b"HTTP/1.1 400 ")
    assert b"Content-Type: application/json" in said
    assert error_code(said.partition(b"\r\n\r\n")[2]) == "UNSUPPORTED"


@pytest.mark.parametrize("mark", [b"x" * 9000, b"\x00"], ids=["too long", "malformed"])
def test_a_token_in_a_head_that_can_not_be_parsed_is_not_logged(server, mark):
    """aiohttp's own handler logs the first bytes of such a header at error level."""
    token = b"eyJhbGciOiJSUzI1NiJ9c2VjcmV0"
    with connect(server) as sock:
        sock.sendall(
            b"GET /v2/ HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + token + mark + b"\r\n\r\n"
        )
        assert read_all(sock)
    time.sleep(0.2)
    log = server.log.read_text()
    assert "refused a malformed request" in log
    assert token.decode()[:12] not in log
    assert "Bearer" not in log


def test_connections_beyond_the_limit_are_told_to_come_back(server):
    held = []
    try:
        for _ in range(12):
            sock = connect(server)
            sock.sendall(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n")
            assert read_answer(sock)[0] == 200
            held.append(sock)
        with connect(server) as sock:
            said = read_all(sock)
        assert said.startswith(b"HTTP/1.1 503 ")
        assert b"Retry-After: " in said
        assert error_code(said.partition(b"\r\n\r\n")[2]) == "UNAVAILABLE"
    finally:
        for sock in held:
            sock.close()
    assert eventually(lambda: get(server)[0] == 200)


def test_a_compressed_body_is_stored_as_it_was_sent(server):
    """A digest is of the bytes on the wire, so they must not be unpacked on the way."""
    data = gzip.compress(b"layer" * 1000)
    digest = "sha256:" + sha256(data).hexdigest()
    status, _, body = get(
        server,
        f"{start_upload(server)}?digest={digest}",
        method="PUT",
        body=data,
        headers={"Content-Encoding": "gzip", "Content-Type": "application/octet-stream"},
    )
    assert status == 201, body
    assert get(server, f"/v2/a/b/blobs/{digest}")[2] == data


def test_pipelined_requests_are_answered_in_their_order(server):
    with connect(server) as sock:
        sock.sendall(
            b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n"
            b"GET /v2/no/tags/list HTTP/1.1\r\nHost: x\r\n\r\n"
            b"GET /v2/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        )
        said = read_all(sock)
    order = [part[:3] for part in said.split(b"HTTP/1.1 ")[1:]]
    assert order == [b"200", b"404", b"200"]


def test_what_could_not_be_parsed_is_in_the_access_log(server):
    with connect(server) as sock:
        sock.sendall(b"nonsense\r\n\r\n")
        read_all(sock)
    time.sleep(0.2)
    lines = [json.loads(line) for line in server.log.read_text().splitlines()]
    found = [line for line in lines if line["log"] == "access" and line["status"] == 400]
    assert found[-1]["time"].startswith("20")
    assert found[-1]["remote"] == "127.0.0.1"
