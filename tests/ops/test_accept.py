"""Workers that accept from one socket: each has its share, and none waits for one that is stuck."""

import asyncio
import errno
import os
import socket
from contextlib import asynccontextmanager

import pytest

from registry.http.accept import Acceptor
from registry.shares import Shares


class Side(asyncio.Protocol):
    """A connection of one worker."""

    def __init__(self, part, held):
        self.part, self.held = part, held

    def connection_made(self, transport):
        self.held.append(transport)
        self.part.note(len(self.held))


@pytest.fixture
def listening():
    with socket.create_server(("127.0.0.1", 0), backlog=200) as sock:
        sock.settimeout(0)
        yield sock


@asynccontextmanager
async def accepting(sock, shares, *workers):
    """Have workers accept; give what each holds."""
    held = {worker: [] for worker in workers}
    acceptors = [
        Acceptor(
            sock.dup(),
            lambda w=worker: Side(shares.part(w), held[w]),
            shares.part(worker).ahead,
            {},
        )
        for worker in workers
    ]
    try:
        yield held
    finally:
        for acceptor in acceptors:
            acceptor.close()
        for transport in [each for side in held.values() for each in side]:
            transport.abort()


@asynccontextmanager
async def clients(sock, count):
    streams = [await asyncio.open_connection(*sock.getsockname()) for _ in range(count)]
    try:
        yield
    finally:
        for _, writer in streams:
            writer.close()


async def until(true):
    async with asyncio.timeout(30):
        while not true():
            await asyncio.sleep(0.01)


async def test_each_worker_has_its_share(listening):
    shares = Shares(3)
    async with accepting(listening, shares, 0, 1, 2) as held, clients(listening, 60):
        await until(lambda: sum(map(len, held.values())) == 60)
        assert min(map(len, held.values())) >= 10, {w: len(side) for w, side in held.items()}


async def test_who_has_fewer_is_asked_first(listening, monkeypatch):
    monkeypatch.setattr("registry.http.accept._LONGEST_LEAVE", 20.0)  # however busy the machine is
    monkeypatch.setattr("registry.http.accept._LEAVE_SECONDS", 1.0)
    shares = Shares(2)
    shares.note(0, 40)
    async with accepting(listening, shares, 0, 1) as held, clients(listening, 30):
        await until(lambda: sum(map(len, held.values())) == 30)
        assert len(held[1]) == 30


async def test_one_that_has_none_and_does_nothing_keeps_nobody_waiting(listening):
    """It is stuck, or has died and its count is not yet taken back."""
    shares = Shares(2)
    async with accepting(listening, shares, 0) as held, clients(listening, 100):
        await until(lambda: len(held[0]) == 100)
        assert shares.part(0).ahead() == 100
        shares.note(1, 200)
        assert shares.part(0).ahead() == 0


class Scarce(socket.socket):
    """A socket of a process that has no descriptors left, for a while."""

    refusals = 0

    def accept(self):
        if self.refusals:
            self.refusals -= 1
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return super().accept()


async def test_without_descriptors_it_waits_and_goes_on(listening, monkeypatch, caplog):
    monkeypatch.setattr("registry.http.accept._SHORTAGE_SECONDS", 0.05)
    scarce = Scarce(fileno=os.dup(listening.fileno()))
    scarce.refusals = 2
    held = []
    acceptor = Acceptor(scarce, lambda: Side(Shares(1).part(0), held), None, {})
    try:
        async with clients(listening, 3):
            await until(lambda: len(held) == 3)
        assert caplog.text.count("no connection can be accepted now: Too many open files") == 2
    finally:
        acceptor.close()
        for transport in held:
            transport.abort()
