"""Large bodies, which come past the parser: what is around them, behind them and left of them."""

import asyncio
import contextlib
import gzip
import ssl
import time

import pytest
import trustme
import uvloop
from aiohttp import StreamReader
from aiohttp.base_protocol import BaseProtocol

from registry.config import TLSConfig
from registry.http.limits import Limits
from registry.http.receive import receive_chunks
from storage.testing import FaultyStore
from tests.oracle.chunks import LAST, chunk, chunked
from tests.oracle.content import digest_of, random_bytes, with_digest
from tests.oracle.local import serving
from tests.oracle.wire import Connection

MIB = 1024 * 1024
SIZE = 5 * MIB + 4321


class Sized:
    """A body of known length, as it is sent."""

    @staticmethod
    def header(size):
        return ("Content-Length", str(size))

    @staticmethod
    def whole(data):
        return data

    @staticmethod
    def part(data):
        return data


class Chunked:
    """A body in chunks."""

    @staticmethod
    def header(size):
        return ("Transfer-Encoding", "chunked")

    @staticmethod
    def whole(data):
        return chunked(data)

    @staticmethod
    def part(data):
        return chunked(data).removesuffix(LAST)


framings = pytest.mark.parametrize("framing", [Sized, Chunked])


def begin(client, repo="a/b"):
    return client.post(f"/v2/{repo}/blobs/uploads/").expect(202)["Location"]


@pytest.fixture(scope="module", params=[asyncio.new_event_loop, uvloop.new_event_loop])
def both(request, tmp_path_factory):
    """A registry on either event loop, and what is to be trusted of it."""
    directory = tmp_path_factory.mktemp("receive")
    authority = trustme.CA()
    made = authority.issue_cert("127.0.0.1")
    made.private_key_and_cert_chain_pem.write_to_path(directory / "cert.pem")
    made.private_key_pem.write_to_path(directory / "key.pem")
    tls = TLSConfig(certificate=str(directory / "cert.pem"), key=str(directory / "key.pem"))
    context = ssl.create_default_context()
    authority.configure_trust(context)
    with serving("filesystem", directory, tls=tls, loop=request.param) as local:
        yield local, context


@framings
@pytest.mark.parametrize("secure", [False, True])
def test_requests_behind_large_bodies_are_answered_in_order(both, secure, framing):
    local, context = both
    data = random_bytes(f"{secure}{framing}", 2 * SIZE)
    address = local.secure_address if secure else local.address
    with local.client() as client, Connection(address, context=context if secure else None) as line:
        location = begin(client)
        header = framing.header(SIZE)
        put = with_digest(location, digest_of(data))
        line.send(line.head("PATCH", location, [header]) + framing.whole(data[:SIZE]))
        line.send(line.head("PUT", put, [header]) + framing.whole(data[SIZE:]))
        line.send(line.head("GET", f"/v2/a/b/blobs/{digest_of(data)}"))
        line.read("PATCH").expect(202)
        line.read("PUT").expect(201)
        assert line.read().expect(200).body == data
    pushes = [each for each in local.observed.records if each.method in ("PATCH", "PUT")]
    assert [each.received for each in pushes[-2:]] == [SIZE, SIZE]


@framings
def test_a_body_that_looks_like_requests_is_never_taken_for_one(serve, framing):
    """Also where it was refused half-way: the rest is passed over, and then comes the next one."""
    local = serve("memory", wrap=FaultyStore)
    evil = b"DELETE /v2/a/b/manifests/v1 HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
    data = (evil * (SIZE // len(evil) + 1))[:SIZE]
    with local.client() as client, client.connect() as connection:
        location = begin(client)
        local.store.fail(2, "write")
        connection.send(connection.head("PATCH", location, [framing.header(SIZE)]))
        connection.send(framing.part(data[:MIB]))
        connection.send(framing.whole(data[MIB:]))
        connection.read("PATCH").expect(503)
        assert connection.request("GET", "/v2/").expect(200).json() == {}
    assert "DELETE" not in {each.method for each in local.observed.records}


@framings
def test_what_came_before_the_connection_broke_is_kept(serve, framing):
    local = serve("memory")
    data = random_bytes("broken", SIZE)
    with local.client() as client:
        location = begin(client)
        with client.connect() as connection:
            connection.send(connection.head("PATCH", location, [framing.header(SIZE)]))
            connection.send(framing.part(data[: 3 * MIB]))
        end = time.monotonic() + 20
        while (kept := client.get(location)["Range"]) != f"0-{3 * MIB - 1}":
            assert time.monotonic() < end, kept
            time.sleep(0.05)
        client.patch(location, body=data[3 * MIB :]).expect(202)
        client.put(with_digest(location, digest_of(data))).expect(201)


@framings
def test_a_trickle_in_the_middle_of_a_large_body_is_given_408(serve, framing):
    local = serve("memory", limits=Limits(idle_seconds=1.5, slowest_bytes=1000))
    with local.client() as client, client.connect() as connection:
        location = begin(client)
        connection.send(connection.head("PATCH", location, [framing.header(SIZE)]))
        connection.send(framing.part(bytes(2 * MIB)))
        connection.socket.settimeout(0.05)
        reply, end = None, time.monotonic() + 20
        while reply is None and time.monotonic() < end:
            try:
                connection.send(framing.part(b"x"))
                reply = connection.read("PATCH")
            except TimeoutError:
                continue
        assert reply is not None, "a trickle of bytes holds the server for ever"
        reply.refused(408, "SIZE_INVALID")


def serve_held(serve):
    """A registry over a store that takes no bytes, and what has to be set that it takes them."""
    held = asyncio.Event()

    class Slow(FaultyStore):
        async def step(self, method, key, call, half=None):
            if method == "write":
                await held.wait()
            return await super().step(method, key, call, half)

    return serve("memory", wrap=Slow), held


@framings
def test_a_client_that_is_quicker_than_the_store_waits(serve, framing):
    """What is held of a body is bounded: the kernel's buffers, and a few blocks."""
    local, held = serve_held(serve)
    with local.client() as client, client.connect() as connection:
        location = begin(client)
        size = 64 * MIB
        connection.send(connection.head("PATCH", location, [framing.header(size)]))
        connection.socket.settimeout(1)
        sent, piece = 0, framing.part(bytes(MIB))
        with pytest.raises(TimeoutError):
            while sent < size:
                at = sent % len(piece)
                sent += connection.socket.send(piece[at:])
        assert sent < 40 * MIB
        local.run(_set(held))


async def _set(event):
    event.set()


# --- chunked bodies -------------------------------------------------------------------------

CHUNKED = ("Transfer-Encoding", "chunked")


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    """A registry over memory."""
    with serving("memory", tmp_path_factory.mktemp("receive")) as local:
        yield local


def ways(data):
    """One stream of bytes as it may come: at once, byte by byte, and cut at the end of the head."""
    yield [data]
    yield [data[at : at + 1] for at in range(len(data))]
    head, end, behind = data.partition(b"\r\n\r\n")
    yield [head + end, behind]
    yield [head + end[:2], end[2:] + behind]


@pytest.mark.parametrize("way", range(4))
def test_a_small_body_comes_between_requests_however_they_are_cut(local, way):
    data = random_bytes(way, 1000)
    with local.client() as client, client.connect() as connection:
        location = begin(client)
        put = with_digest(location, digest_of(data))
        stream = (
            connection.head("PATCH", location, [CHUNKED])
            + chunk(data[:1], b";x")
            + chunk(data[1:500])
            + b"0\r\nX-Checksum: 1\r\n\r\n"
            + connection.head("PUT", put, [CHUNKED])
            + chunk(data[500:])
            + LAST
            + connection.head("GET", f"/v2/a/b/blobs/{digest_of(data)}")
        )
        for piece in list(ways(stream))[way]:
            connection.send(piece)
        connection.read("PATCH").expect(202)
        connection.read("PUT").expect(201)
        assert connection.read().expect(200).body == data


@pytest.mark.parametrize(
    "body",
    [
        b"5\nhello\r\n" + LAST,
        b"0x5\r\nhello\r\n" + LAST,
        b" 5\r\nhello\r\n" + LAST,
        b"4\r\nhello\r\n" + LAST,
        b"5\r\nhello" + LAST,
        b"5\r\nhello\r\n0\n\n",
        b"5;" + b"x" * 70_000 + b"\r\nhello\r\n" + LAST,
        b"10000000000000000\r\nhello\r\n" + LAST,
        b"5\r\nhello\r\n0\r\nContent-Length: 60\r\n\r\n",
        b"5\r\nhello\r\n0\r\n" + b"X: y\r\n" * 20_000 + b"\r\n",
    ],
)
@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize("large", [False, True])
def test_what_is_behind_a_malformed_body_is_no_request(local, body, apart, large):
    """RFC 9112 §11.2: where the body ends is not known, so nothing that follows is looked at."""
    with local.client() as client, client.connect() as connection:
        location = begin(client)
        evil = connection.head("POST", "/v2/evil/evil/blobs/uploads/", [("Content-Length", "0")])
        connection.send(connection.head("PATCH", location, [CHUNKED]) if apart else b"")
        if apart:
            wait_for(local, lambda: local.observed.running)
        head = b"" if apart else connection.head("PATCH", location, [CHUNKED])
        before = chunked(bytes(2 * MIB)).removesuffix(LAST) if large else b""
        with contextlib.suppress(ConnectionError):
            connection.send(head + before + body + evil)
        with contextlib.suppress(ConnectionError):
            assert connection.read("PATCH").refused(400, "BLOB_UPLOAD_INVALID").closes
            assert connection.ended()
        wait_for(local, lambda: not local.observed.running)
    assert not [each for each in local.observed.records if each.path.startswith("/v2/evil")]
    last = [each for each in local.observed.records if each.method == "PATCH"][-1]
    assert last.status == 400


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_a_request_that_comes_with_a_malformed_body_is_not_done(local, method):
    with local.client() as client, client.connect() as connection:
        location = begin(client)
        client.patch(location, body=b"hello").expect(202)
        connection.send(connection.head(method, location, [CHUNKED]) + b"5\nhello\r\n" + LAST)
        connection.read(method).refused(400, "BLOB_UPLOAD_INVALID")
        assert connection.ended()
        assert client.get(location).expect(204)["Range"] == "0-4"


@pytest.mark.parametrize("good", [True, False])
def test_a_chunked_body_may_come_while_the_request_before_it_is_answered(serve, good):
    """Each has its own answer; what follows a malformed one has none."""
    local, held = serve_held(serve)
    data = random_bytes(good, 3 * MIB // 2)
    with local.client() as client, client.connect() as connection:
        location, other = begin(client), begin(client)
        connection.send(connection.head("PATCH", location, [CHUNKED]) + chunked(data))
        wait_for(local, lambda: local.observed.running)
        connection.send(connection.head("PATCH", other, [CHUNKED]))
        connection.send(chunked(data[:1000]) if good else b"5\nhello\r\n" + LAST)
        connection.send(connection.head("GET", "/v2/"))
        local.run(_set(held))
        connection.read("PATCH").expect(202)
        if good:
            connection.read("PATCH").expect(202)
            connection.read().expect(200)
        else:
            assert connection.read("PATCH").expect(400).closes
            assert connection.ended()
        assert client.get(location).expect(204)["Range"] == f"0-{len(data) - 1}"


def test_a_chunked_body_is_never_parsed_where_a_client_sends_one_request_at_a_time(
    local, monkeypatch
):
    """Also one that is sent as soon as the answer before it was there."""
    taken = []

    def receive(protocol, content, began):
        taken.append(content)
        receive_chunks(protocol, content, began)

    monkeypatch.setattr("registry.http.connection.receive_chunks", receive)
    data = random_bytes("taken", 100)
    with local.client() as client, client.connect() as connection:
        for _ in range(50):
            location = connection.request("POST", "/v2/a/b/blobs/uploads/").expect(202)["Location"]
            connection.send(connection.head("PATCH", location, [CHUNKED]) + chunked(data, 10))
            location = connection.read("PATCH").expect(202)["Location"]
            connection.request("PUT", with_digest(location, digest_of(data))).expect(201)
    assert len(taken) == 50


def wait_for(local, found):
    end = time.monotonic() + 20
    while not found():
        assert time.monotonic() < end, local.observed.records[-3:]
        time.sleep(0.01)


def test_a_chunked_body_is_asked_for_when_it_is_wanted(local):
    data = random_bytes("asked", 3 * MIB)
    with local.client() as client, client.connect() as connection:
        put = with_digest(begin(client), digest_of(data))
        connection.send(connection.head("PUT", put, [CHUNKED, ("Expect", "100-continue")]))
        assert connection.socket.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.send(chunked(data))
        connection.read("PUT").expect(201)


def test_a_connection_is_closed_behind_a_chunked_body_where_that_was_asked_for(local):
    with local.client() as client, client.connect() as connection:
        location = begin(client)
        headers = [CHUNKED, ("Connection", "close"), ("Content-Encoding", "gzip")]
        data = gzip.compress(random_bytes("gzip", MIB))
        put = with_digest(location, digest_of(data))
        connection.send(connection.head("PUT", put, headers) + chunked(data, 1000))
        assert connection.read("PUT").expect(201)["Connection"] == "close"
        assert connection.ended()
        assert client.get(f"/v2/a/b/blobs/{digest_of(data)}").expect(200).body == data


@pytest.mark.parametrize("size", [1, 3, 1000, 70_000, 3 * MIB])
def test_chunks_of_any_size_come_back_byte_for_byte(local, size):
    data = random_bytes(size, min(SIZE, 50_000 * size))
    with local.client() as client:
        put = with_digest(begin(client), digest_of(data))
        with client.connect() as connection:
            connection.send(connection.head("PUT", put, [CHUNKED]) + chunked(data, size))
            connection.read("PUT").expect(201)
        assert client.get(f"/v2/a/b/blobs/{digest_of(data)}").expect(200).body == data


async def test_small_chunks_are_moved_together_and_what_was_passed_on_is_never_changed():
    """Otherwise each byte that is waited with would hold hundreds."""
    content = StreamReader(BaseProtocol(asyncio.get_running_loop()), 1 << 20)
    line = Line()
    data, pieces = random_bytes("small", 200_000), []
    stream = chunked(data, 7) + b"GET"
    receiver = line.begin(content, stream[:100])
    stream = stream[100:]
    while line.behind is None:
        if line.held[-1:] == [True]:
            await asyncio.sleep(0)
            continue
        room = receiver.get_buffer(-1)
        size = min(len(room), len(stream), 50_000)
        room[:size], stream = stream[:size], stream[size:]
        receiver.buffer_updated(size)
        pieces.append(content.read_nowait())
    assert b"".join(pieces) == data
    assert len(pieces) < 20
    assert line.behind == b"GET"
    assert content.is_eof()


class Line:
    """A connection that only keeps what it is told."""

    def __init__(self):
        self.receiver = None
        self.behind = None
        self.held = []
        self.lost = False

    def connection_lost(self, exc):
        self.lost = True

    def begin(self, content, began):
        receive_chunks(self, content, began)
        return self.receiver

    def receive(self, receiver):
        self.receiver = receiver

    def received(self, content, behind=b""):
        self.behind = behind
        content.feed_eof()

    def hold(self):
        self.held.append(True)

    def go_on(self):
        self.held.append(False)

    def broken(self, content, reason):
        raise AssertionError(reason)


async def test_a_block_of_the_smallest_chunks_is_decoded_in_turns():
    """One client may not keep the others waiting; nothing more is taken of it meanwhile."""
    content = StreamReader(BaseProtocol(asyncio.get_running_loop()), 1 << 20)
    line = Line()
    data = random_bytes("turns", 10_000)
    line.begin(content, chunked(data, 1) + b"GET")
    assert content.total_bytes < len(data)
    assert line.held == [True]
    while line.behind is None:
        await asyncio.sleep(0)
    assert line.held == [True, True, False]
    assert content.read_nowait() == data
    assert line.behind == b"GET"


async def test_what_a_lost_connection_left_undecoded_is_forgotten():
    content = StreamReader(BaseProtocol(asyncio.get_running_loop()), 1 << 20)
    line = Line()
    receiver = line.begin(content, chunked(bytes(10_000), 1))
    came = content.total_bytes
    receiver.connection_lost(None)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert content.total_bytes == came
    assert line.lost


@pytest.mark.parametrize("secure", [False, True])
def test_the_smallest_chunks_come_back_byte_for_byte(both, secure):
    local, context = both
    data = random_bytes(f"smallest{secure}", 150_000)
    address = local.secure_address if secure else local.address
    with local.client() as client, Connection(address, context=context if secure else None) as line:
        put = with_digest(begin(client), digest_of(data))
        line.send(line.head("PUT", put, [CHUNKED]) + chunked(data, 1))
        line.send(line.head("GET", f"/v2/a/b/blobs/{digest_of(data)}"))
        line.read("PUT").expect(201)
        assert line.read().expect(200).body == data
