"""Sending a file: every byte of the range, at the client's pace, and no more than there is."""

import asyncio
import os
import socket
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from registry.http import send
from storage.ports import OpenFile
from tests.oracle.content import random_bytes

SIZE = 9 * 1024 * 1024 + 17
"""Two windows and a bit."""


@contextmanager
def connection():
    """A request as ``send_file`` sees it, and the client's end of its connection."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(0)
        transport = SimpleNamespace(
            get_extra_info=lambda _: ours,
            get_write_buffer_size=lambda: 0,
            is_closing=lambda: False,
        )
        yield SimpleNamespace(transport=transport), theirs


def receive(sock, count):
    data = bytearray()
    while len(data) < count and (more := sock.recv(100_000)):
        data += more
    return bytes(data)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(random_bytes("send", SIZE))
    fd = os.open(path, os.O_RDONLY)
    yield OpenFile(fd, SIZE)
    os.close(fd)


@pytest.mark.parametrize(
    ("start", "end"),
    [(0, SIZE), (1, SIZE), (4095, 4097), (4 * 2**20 - 1, 4 * 2**20 + 1), (SIZE - 1, SIZE), (5, 5)],
)
async def test_the_bytes_of_the_range_are_sent(file, start, end):
    with connection() as (request, client):
        receiving = asyncio.ensure_future(asyncio.to_thread(receive, client, end - start))
        await send.send_file(request, file, start, end, 5)
        assert await receiving == random_bytes("send", SIZE)[start:end]


async def test_a_file_that_is_shorter_breaks_the_connection(file):
    with connection() as (request, client):
        receiving = asyncio.ensure_future(asyncio.to_thread(receive, client, SIZE))
        with pytest.raises(ConnectionResetError, match="ended early"):
            await send.send_file(request, file, 0, SIZE + 5_000_000, 5)
        request.transport.get_extra_info("socket").close()
        await receiving


async def test_a_file_that_cannot_be_read_breaks_the_connection(file, monkeypatch):
    # What write(2) says of a mapped page that the disk does not give: its file was cut short.
    with connection() as (request, client):
        receiving = asyncio.ensure_future(asyncio.to_thread(receive, client, SIZE))
        mapped = send.mmap.mmap

        def cut(fd, *arguments, **named):
            window = mapped(fd, *arguments, **named)
            os.truncate(f"/proc/self/fd/{fd}", 0)
            return window

        monkeypatch.setattr(send.mmap, "mmap", cut)
        with pytest.raises(ConnectionResetError, match="can't be read"):
            await send.send_file(request, file, 0, SIZE, 5)
        request.transport.get_extra_info("socket").close()
        await receiving


async def test_a_client_that_takes_nothing_is_let_go(file):
    with (
        connection() as (request, _client),
        pytest.raises(ConnectionResetError, match="stopped reading"),
    ):
        await send.send_file(request, file, 0, SIZE, 0.05)


async def test_a_client_that_goes_away_ends_it(file):
    with connection() as (request, client):
        client.close()
        with pytest.raises(ConnectionError):
            await send.send_file(request, file, 0, SIZE, 5)


async def test_a_thread_waits_so_long_in_one_go_and_no_longer(file, monkeypatch):
    """For a client that takes a little at a time, and each time soon enough."""
    now, waited = 0.0, 0
    with connection() as (request, client):

        class Poll:
            def register(self, *_):
                pass

            def poll(self, _):
                nonlocal now, waited
                now, waited = now + 0.0015, waited + 1
                client.recv(100_000)
                return [object()]

        monkeypatch.setattr(send.select, "poll", Poll)
        monkeypatch.setattr(send.time, "monotonic", lambda: now)
        sock = request.transport.get_extra_info("socket").fileno()
        patience = send._Patience()
        patience.renew()
        first = send._send_some(sock, file.fd, 0, SIZE, patience)
        assert (0 < first < SIZE, waited, patience.slow) == (True, 14, False)
        patience.renew()
        assert send._send_some(sock, file.fd, first, SIZE - first, patience) > 0
        assert waited == 28
