"""Bytes that go from socket to socket: all of them, or it is known how many."""

import asyncio
import os
import resource
import socket
from contextlib import contextmanager

import pytest

from storage._splice import AVAILABLE, send, splice
from tests.oracle.content import random_bytes

DATA = random_bytes("splice", 9 * 1024 * 1024 + 17)

pytestmark = pytest.mark.skipif(not AVAILABLE, reason="splice(2) is Linux's")


@contextmanager
def connections():
    """A store's end and ours, our other end and the client's."""
    pairs = [socket.socketpair() for _ in range(2)]
    (store, source), (sink, client) = pairs
    with store, source, sink, client:
        for each in (source, sink):
            each.settimeout(0)
        yield store, source, sink, client


def give(store, data):
    store.sendall(data)
    store.shutdown(socket.SHUT_WR)


def take(client, count):
    data = bytearray()
    while len(data) < count and (more := client.recv(100_000)):
        data += more
    return bytes(data)


async def moved(source, sink, count, seconds=5.0):
    return await splice(
        source.fileno(), sink.fileno(), count, source_seconds=seconds, sink_seconds=seconds
    )


@pytest.mark.parametrize("count", [1, len(DATA) - 5, len(DATA)])
async def test_so_many_bytes_are_moved_and_no_more(count):
    with connections() as (store, source, sink, client):
        giving = asyncio.ensure_future(asyncio.to_thread(give, store, DATA))
        taking = asyncio.ensure_future(asyncio.to_thread(take, client, count))
        assert await moved(source, sink, count) == count
        assert await taking == DATA[:count]
        source.settimeout(5)
        assert await asyncio.to_thread(take, source, len(DATA) - count) == DATA[count:]
        await giving


async def test_of_a_source_that_ends_early_it_is_known_how_much_came():
    with connections() as (store, source, sink, client):
        giving = asyncio.ensure_future(asyncio.to_thread(give, store, DATA))
        taking = asyncio.ensure_future(asyncio.to_thread(take, client, len(DATA)))
        assert await moved(source, sink, 2 * len(DATA)) == len(DATA)
        assert await taking == DATA
        await giving


async def test_a_source_that_is_silent_is_left():
    with connections() as (store, source, sink, client):
        store.sendall(b"some")
        assert await moved(source, sink, 10, 0.05) == 4
        assert client.recv(10) == b"some"


@pytest.mark.parametrize("gone", [True, False])
async def test_a_client_that_goes_away_or_takes_nothing_is_told_of(gone):
    with connections() as (store, source, sink, client):
        giving = asyncio.ensure_future(asyncio.to_thread(give, store, DATA))
        if gone:
            client.close()
        with pytest.raises(ConnectionResetError, match="went away" if gone else "stopped reading"):
            await moved(source, sink, len(DATA), 0.05)
        with pytest.raises(ConnectionResetError):
            await send(sink.fileno(), DATA, 0.05)
        giving.cancel()
        source.settimeout(5)
        await asyncio.to_thread(take, source, len(DATA))


async def test_bytes_that_came_before_are_sent_at_the_clients_pace():
    with connections() as (_, _, sink, client):
        taking = asyncio.ensure_future(asyncio.to_thread(take, client, len(DATA)))
        await send(sink.fileno(), DATA, 5)
        assert await taking == DATA


async def test_a_pipe_that_may_not_grow_does_as_well(monkeypatch):
    """The kernel refuses the 65th of a user's."""

    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("storage._splice.fcntl.fcntl", refuse)
    with connections() as (store, source, sink, client):
        giving = asyncio.ensure_future(asyncio.to_thread(give, store, DATA))
        taking = asyncio.ensure_future(asyncio.to_thread(take, client, len(DATA)))
        assert await moved(source, sink, len(DATA)) == len(DATA)
        assert await taking == DATA
        await giving


async def test_where_no_file_may_be_opened_nothing_is_moved_nor_lost():
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with connections() as (store, source, sink, _):
        store.sendall(b"some")
        next_one = os.dup(source.fileno())
        os.close(next_one)
        resource.setrlimit(resource.RLIMIT_NOFILE, (next_one, limits[1]))
        try:
            assert await moved(source, sink, 4) == 0
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        assert source.recv(10) == b"some"
