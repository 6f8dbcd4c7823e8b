"""A writer that was frozen for longer than its lease never undoes what its successor wrote."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from registry.service.services import Services
from registry.spec.digest import Digest
from registry.spec.errors import DigestMismatch, UploadConflict, UploadUnknown
from registry.spec.names import Place
from storage.coordination import Lease
from storage.inprocess import InProcessCoordinator
from storage.memory import VALUE as HELD
from storage.memory import MemoryStore
from storage.testing import FaultyStore
from tests.service.content import chunk

REPOSITORY = Place("project/env")
FIRST, OTHER, SECOND = (word * HELD for word in (b"first", b"other", b"second"))
FEW = 1000
"""Bytes that a session's record holds."""


class LosesLeases(InProcessCoordinator):
    """Each lease is lost at once, as if its time had run out: writers don't exclude each other."""

    @asynccontextmanager
    async def hold(self, name, *, wait=0.0):
        yield Lease(name, 0)


@pytest.fixture
def store():
    return FaultyStore(MemoryStore())


@pytest.fixture
def registry(store):
    return Services.over(store, LosesLeases(), files=None, memory=1024 * 1024)


@pytest.fixture
def uploads(registry):
    return registry.uploads


async def opened(uploads, begun, first=FIRST):
    """A session, and how many bytes it holds."""
    session = (await uploads.start(REPOSITORY, "me")).session
    if begun:
        await uploads.append(REPOSITORY, session, "me", chunk(first))
    return session, len(first) if begun else 0


async def reached(gate):
    async with asyncio.timeout(5):
        await gate.reached.wait()


async def read(registry, blob):
    async with registry.blobs.open(blob, 0, blob.size) as reader:
        return b"".join([data async for data in reader])


@pytest.mark.parametrize("begun", [False, True])
@pytest.mark.parametrize(
    ("call", "when"),
    [("write", "before"), ("write", "after"), ("checkpoint", "after"), ("save", "before")],
)
async def test_a_frozen_writer_does_not_overwrite_its_successors_record(
    store, registry, begun, call, when
):
    uploads = registry.uploads
    session, offset = await opened(uploads, begun)
    if call == "save":
        call = "replace" if begun else "create"
    gate = store.gate(method=call, when=when)
    frozen = asyncio.ensure_future(uploads.append(REPOSITORY, session, "me", chunk(OTHER)))
    await reached(gate)
    after = offset + len(SECOND)
    assert (await uploads.append(REPOSITORY, session, "me", chunk(SECOND))).offset == after
    gate.open()
    with pytest.raises(UploadConflict) as caught:
        await frozen
    assert caught.value.offset == after
    assert (await uploads.status(REPOSITORY, session, "me")).offset == after
    whole = (FIRST if begun else b"") + SECOND + b"end"
    blob = await uploads.finish(REPOSITORY, session, "me", Digest.of(whole), chunk(b"end"))
    assert await read(registry, blob) == whole


@pytest.mark.parametrize("begun", [False, True])
@pytest.mark.parametrize("mine", [FEW, len(OTHER)], ids=["held", "written"])
@pytest.mark.parametrize("theirs", [FEW, len(SECOND)], ids=["held", "written"])
@pytest.mark.parametrize("when", ["before", "after"])
async def test_of_two_records_with_bytes_in_them_one_stands(
    store, registry, begun, mine, theirs, when
):
    uploads = registry.uploads
    first, other, second = FIRST[:FEW], OTHER[:mine], SECOND[:theirs]
    session, offset = await opened(uploads, begun, first)
    gate = store.gate(method="replace" if begun else "create", when="before")
    frozen = asyncio.ensure_future(uploads.append(REPOSITORY, session, "me", chunk(other)))
    await reached(gate)
    await uploads.append(REPOSITORY, session, "me", chunk(second))
    whole = first[:offset] + second
    if when == "before":
        gate.open()
        with pytest.raises(UploadConflict) as caught:
            await frozen
        assert caught.value.offset == len(whole)
    blob = await uploads.finish(REPOSITORY, session, "me", Digest.of(whole), chunk(b""))
    if when == "after":
        gate.open()
        if begun:
            with pytest.raises(UploadUnknown):
                await frozen
        else:
            await frozen
    assert await read(registry, blob) == whole


async def test_a_frozen_writer_does_not_free_its_successors_bytes(store, registry):
    """Its own bytes do not have the digest that it was told; the session goes on all the same."""
    uploads = registry.uploads
    session, offset = await opened(uploads, begun=True)
    gate = store.gate(method="write", when="after")
    wrong = Digest.of(b"something else")
    frozen = asyncio.ensure_future(uploads.finish(REPOSITORY, session, "me", wrong, chunk(OTHER)))
    await reached(gate)
    await uploads.append(REPOSITORY, session, "me", chunk(SECOND))
    gate.open()
    with pytest.raises(UploadConflict) as caught:
        await frozen
    assert caught.value.offset == offset + len(SECOND)
    whole = FIRST + SECOND
    blob = await uploads.finish(REPOSITORY, session, "me", Digest.of(whole), chunk(b""))
    assert await read(registry, blob) == whole


@pytest.mark.parametrize("ended", ["finished", "cancelled"])
async def test_a_frozen_writer_does_not_revive_a_session_that_is_over(store, uploads, ended):
    session, _ = await opened(uploads, begun=True)
    gate = store.gate(method="replace")
    frozen = asyncio.ensure_future(uploads.append(REPOSITORY, session, "me", chunk(OTHER)))
    await reached(gate)
    if ended == "finished":
        await uploads.finish(REPOSITORY, session, "me", Digest.of(FIRST), chunk(b""))
    else:
        await uploads.cancel(REPOSITORY, session, "me")
    gate.open()
    with pytest.raises(UploadUnknown):
        await frozen
    with pytest.raises(UploadUnknown):
        await uploads.status(REPOSITORY, session, "me")


async def test_a_mismatch_ends_the_session_and_frees_its_bytes(store, uploads):
    session, _ = await opened(uploads, begun=True)
    with pytest.raises(DigestMismatch):
        await uploads.finish(REPOSITORY, session, "me", Digest.of(SECOND), chunk(b""))
    for request in (
        uploads.status(REPOSITORY, session, "me"),
        uploads.append(REPOSITORY, session, "me", chunk(b"x")),
        uploads.cancel(REPOSITORY, session, "me"),
    ):
        with pytest.raises(UploadUnknown):
            await request
    assert ("abandon", f"data/{session[:2]}/{session[:32]}") in store.log


async def test_a_crash_between_a_sessions_end_and_the_freeing_of_its_bytes_is_made_good(
    store, uploads, monkeypatch
):
    """The record says that it is over before the bytes go; expiry frees what was left."""
    session, _ = await opened(uploads, begun=True)
    store.fail(method="abandon")
    with pytest.raises(Exception, match="a fault"):
        await uploads.cancel(REPOSITORY, session, "me")
    with pytest.raises(UploadUnknown):
        await uploads.status(REPOSITORY, session, "me")
    real = __import__("time").time
    monkeypatch.setattr("registry.service.sessions.time.time", lambda: real() + 7200)
    assert await uploads.expire() == 1
    assert [method for method, _ in store.log[-3:]] == ["abandon", "delete", "sweep"]
    assert not await store.list("uploads/")


class Lapsing(InProcessCoordinator):
    """Leases that outlive who held them, as those in Redis do."""

    lapse = 0.5


@pytest.mark.parametrize("coordinator", [Lapsing(), InProcessCoordinator()])
async def test_a_writer_waits_for_a_lease_that_may_be_a_dead_ones(coordinator):
    """Where a lease is lost with its holder there is nothing to wait for."""
    registry = Services.over(MemoryStore(), coordinator, files=None, memory=1024 * 1024)
    session, _ = await opened(registry.uploads, begun=True)
    left_behind = coordinator.hold(f"upload/{session}")
    await left_behind.__aenter__()
    asyncio.get_running_loop().call_later(
        0.3, lambda: asyncio.ensure_future(left_behind.__aexit__(None, None, None))
    )
    finish = registry.uploads.finish(REPOSITORY, session, "me", Digest.of(FIRST), chunk(b""))
    if coordinator.lapse:
        assert (await finish).size == len(FIRST)
    else:
        with pytest.raises(UploadConflict):
            await finish
        await asyncio.sleep(0.35)
