"""Large bodies, which come past the parser: what is around them, behind them and left of them."""

import asyncio
import ssl
import time

import pytest
import trustme
import uvloop

from registry.config import TLSConfig
from registry.http.limits import Limits
from storage.testing import FaultyStore
from tests.oracle.content import digest_of, random_bytes, with_digest
from tests.oracle.local import serving
from tests.oracle.wire import Connection

MIB = 1024 * 1024
SIZE = 5 * MIB + 4321


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


@pytest.mark.parametrize("secure", [False, True])
def test_requests_behind_large_bodies_are_answered_in_order(both, secure):
    local, context = both
    data = random_bytes(secure, 2 * SIZE)
    address = local.secure_address if secure else local.address
    with local.client() as client, Connection(address, context=context if secure else None) as line:
        location = begin(client)
        length = ("Content-Length", str(SIZE))
        put = with_digest(location, digest_of(data))
        line.send(line.head("PATCH", location, [length]) + data[:SIZE])
        line.send(line.head("PUT", put, [length]) + data[SIZE:])
        line.send(line.head("GET", f"/v2/a/b/blobs/{digest_of(data)}"))
        line.read("PATCH").expect(202)
        line.read("PUT").expect(201)
        assert line.read().expect(200).body == data
    pushes = [each for each in local.observed.records if each.method in ("PATCH", "PUT")]
    assert [each.received for each in pushes[-2:]] == [SIZE, SIZE]


def test_a_body_that_looks_like_requests_is_never_taken_for_one(serve):
    """Also where it was refused half-way: the rest is passed over, and then comes the next one."""
    local = serve("memory", wrap=FaultyStore)
    evil = b"DELETE /v2/a/b/manifests/v1 HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
    data = (evil * (SIZE // len(evil) + 1))[:SIZE]
    with local.client() as client, client.connect() as connection:
        location = begin(client)
        local.store.fail(2, "write")
        connection.send(connection.head("PATCH", location, [("Content-Length", str(SIZE))]))
        connection.send(data[:MIB])
        connection.send(data[MIB:])
        connection.read("PATCH").expect(503)
        assert connection.request("GET", "/v2/").expect(200).json() == {}
    assert "DELETE" not in {each.method for each in local.observed.records}


def test_what_came_before_the_connection_broke_is_kept(serve):
    local = serve("memory")
    data = random_bytes("broken", SIZE)
    with local.client() as client:
        location = begin(client)
        with client.connect() as connection:
            connection.send(connection.head("PATCH", location, [("Content-Length", str(SIZE))]))
            connection.send(data[: 3 * MIB])
        end = time.monotonic() + 20
        while (kept := client.get(location)["Range"]) != f"0-{3 * MIB - 1}":
            assert time.monotonic() < end, kept
            time.sleep(0.05)
        client.patch(location, body=data[3 * MIB :]).expect(202)
        client.put(with_digest(location, digest_of(data))).expect(201)


def test_a_trickle_in_the_middle_of_a_large_body_is_given_408(serve):
    local = serve("memory", limits=Limits(idle_seconds=1.5, slowest_bytes=1000))
    with local.client() as client, client.connect() as connection:
        location = begin(client)
        connection.send(connection.head("PATCH", location, [("Content-Length", str(SIZE))]))
        connection.send(bytes(2 * MIB))
        connection.socket.settimeout(0.05)
        reply, end = None, time.monotonic() + 20
        while reply is None and time.monotonic() < end:
            try:
                connection.send(b"x")
                reply = connection.read("PATCH")
            except TimeoutError:
                continue
        assert reply is not None, "a trickle of bytes holds the server for ever"
        reply.refused(408, "SIZE_INVALID")


def test_a_client_that_is_quicker_than_the_store_waits(serve):
    """What is held of a body is bounded: the kernel's buffers, and a few blocks."""
    held = asyncio.Event()

    class Slow(FaultyStore):
        async def step(self, method, key, call, half=None):
            if method == "write":
                await held.wait()
            return await super().step(method, key, call, half)

    local = serve("memory", wrap=Slow)
    with local.client() as client, client.connect() as connection:
        location = begin(client)
        size = 64 * MIB
        connection.send(connection.head("PATCH", location, [("Content-Length", str(size))]))
        connection.socket.settimeout(1)
        sent = 0
        with pytest.raises(TimeoutError):
            while sent < size:
                sent += connection.socket.send(bytes(MIB))
        assert sent < 40 * MIB
        local.run(_set(held))


async def _set(event):
    event.set()
