"""Blobs that are stored in their pointer, and how they get on with those that are not."""

import asyncio

import pytest

from registry.service.intake import Chunk
from registry.service.records import Corrupt, Pointer
from registry.service.services import Services
from registry.service.terms import TERMS, Terms
from registry.spec.digest import Digest
from registry.spec.errors import BlobUnknown, DigestMismatch, UploadUnknown
from registry.spec.names import Place
from storage import keys
from storage.inprocess import InProcessCoordinator
from storage.memory import MemoryStore
from storage.ports import Unavailable
from storage.testing import FaultyStore
from tests.service.content import chunk

REPOSITORY, OTHER = Place("project/env"), Place("other/env")
SMALL, LARGEST = b"{}\n\n{}", bytes(65_536)


@pytest.fixture
def store():
    return FaultyStore(MemoryStore())


def services(store, memory=1024 * 1024, terms=TERMS) -> Services:
    coordinator = InProcessCoordinator()
    return Services.over(store, coordinator, files=None, memory=memory, terms=terms)


async def put(registry, data, repository=REPOSITORY):
    """One PUT with the whole content, as docker does it for configs."""
    session = (await registry.uploads.start(repository, "me")).session
    return await registry.uploads.finish(repository, session, "me", Digest.of(data), chunk(data))


async def put_in_two(registry, data, repository=REPOSITORY):
    """A PATCH, then a PUT with the last byte: what is made of both has an object of its own."""
    session = (await registry.uploads.start(repository, "me")).session
    await registry.uploads.append(repository, session, "me", chunk(data[:-1]))
    last = chunk(data[-1:])
    return await registry.uploads.finish(repository, session, "me", Digest.of(data), last)


async def read(registry, digest, repository=REPOSITORY, start=0, end=None):
    blob = await registry.blobs.find(repository, digest)
    end = blob.size if end is None else end
    async with registry.blobs.open(blob, start, end) as reader:
        assert reader.size == blob.size
        found = b"".join([piece async for piece in reader])
    if blob.is_small:
        assert (await registry.blobs.read(blob))[start:end] == found
    return found


async def data_objects(store):
    return list(await store.inner.list("data/"))


@pytest.mark.parametrize("memory", [0, 1024 * 1024])
@pytest.mark.parametrize("content", [b"", b"\n", SMALL, LARGEST], ids=len)
async def test_a_small_blob_has_no_data_object(store, content, memory):
    registry = services(store, memory)
    digest = Digest.of(content)
    blob = await put(registry, content)
    assert (blob.size, blob.is_small, blob.data) == (len(content), True, "")
    assert await data_objects(store) == []
    for process in (registry, services(store, memory)):
        assert await read(process, digest) == content
        assert await read(process, digest, start=1, end=3) == content[1:3]
    with pytest.raises(BlobUnknown):
        await registry.blobs.find(OTHER, digest)


async def test_a_larger_one_and_one_whose_last_bytes_came_with_its_name_have(store):
    registry = services(store)
    for content, push in ((LARGEST + b"1", put), (SMALL, put_in_two)):
        blob = await push(registry, content)
        assert blob.data in await data_objects(store)
        assert await read(services(store), Digest.of(content)) == content


@pytest.mark.parametrize(("first", "second"), [(put, put_in_two), (put_in_two, put)])
async def test_whoever_was_first_stands(store, first, second):
    registry = services(store)
    standing = await first(registry, SMALL)
    assert (await second(registry, SMALL, OTHER)).data == standing.data
    await registry.candidates.flush()
    assert await data_objects(store) == [standing.data] * bool(standing.data)
    for repository in (REPOSITORY, OTHER):
        assert await read(services(store), Digest.of(SMALL), repository) == SMALL


async def test_spare_bytes_that_can_not_be_deleted_now_are_later_and_not_too_late(store):
    now = [1_000_000.0]
    terms = Terms(grace=100.0, clock=lambda: now[0])
    registry = services(store, terms=terms)
    await put(registry, SMALL)
    await put_in_two(registry, SMALL, OTHER)
    store.fail(method="delete")
    with pytest.raises(Unavailable):
        await registry.candidates.flush()
    assert len(await data_objects(store)) == 1
    now[0] += 30
    await registry.candidates.flush()
    assert await data_objects(store) == []
    await put_in_two(registry, SMALL, OTHER)
    now[0] += 50
    await registry.candidates.flush()
    assert len(await data_objects(store)) == 1, "left to a full mark: its name may be gone by now"


async def test_other_bytes_are_refused_and_nothing_is_stored(store):
    registry = services(store)
    session = (await registry.uploads.start(REPOSITORY, "me")).session
    with pytest.raises(DigestMismatch):
        await registry.uploads.finish(REPOSITORY, session, "me", Digest.of(b"other"), chunk(SMALL))
    with pytest.raises(UploadUnknown):
        await registry.uploads.status(REPOSITORY, session, "me")
    for prefix in ("blobs/", "data/", "refs/", "repos/"):
        assert list(await store.inner.list(prefix)) == []


async def test_what_came_of_a_small_body_that_broke_off_is_kept(store):
    """For a client that goes on where it was."""
    registry = services(store)
    session = (await registry.uploads.start(REPOSITORY, "me")).session

    async def broken():
        yield SMALL[:3]
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await registry.uploads.finish(
            REPOSITORY, session, "me", Digest.of(SMALL), Chunk(broken(), len(SMALL), None)
        )
    assert (await registry.uploads.status(REPOSITORY, session, "me")).offset == 3
    last = chunk(SMALL[3:])
    await services(store).uploads.finish(REPOSITORY, session, "me", Digest.of(SMALL), last)
    assert await read(registry, Digest.of(SMALL)) == SMALL


async def test_a_session_that_was_closed_is_unknown_to_the_process_that_closed_it(store):
    registry = services(store)
    session = (await registry.uploads.start(REPOSITORY, "me")).session
    for _ in range(2):
        await registry.uploads.finish(REPOSITORY, session, "me", Digest.of(SMALL), chunk(SMALL))
    await registry.uploads.finish(REPOSITORY, session, "me", Digest.of(SMALL), chunk(b""))
    for request in (
        registry.uploads.status(REPOSITORY, session, "me"),
        registry.uploads.append(REPOSITORY, session, "me", chunk(b"x")),
        registry.uploads.cancel(REPOSITORY, session, "me"),
    ):
        with pytest.raises(UploadUnknown):
            await request
    other = services(store).uploads
    assert (await other.status(REPOSITORY, session, "me")).offset == 0
    await other.finish(REPOSITORY, session, "me", Digest.of(SMALL), chunk(SMALL))


@pytest.mark.parametrize("push", [put, put_in_two])
async def test_a_pointer_that_goes_while_it_is_met_is_made_again(store, push):
    """As a collection of garbage may do, between the refused creation and the look."""
    digest = Digest.of(SMALL)
    await put(services(store), SMALL, OTHER)
    await store.inner.delete(keys.blob(OTHER, digest))
    gate = store.gate(method="create", when="before")
    pushing = asyncio.ensure_future(push(services(store), SMALL))
    async with asyncio.timeout(5):
        while not gate.reached.is_set():
            await asyncio.sleep(0)
        gate.open()
        look = store.gate(2 if push is put_in_two else 1, method="get", when="before")
        while not look.reached.is_set() and not pushing.done():
            await asyncio.sleep(0)
        await store.inner.delete(keys.pointer(digest))
        look.open()
        blob = await pushing
    assert await read(services(store), digest) == SMALL
    assert await data_objects(store) == [blob.data] * bool(blob.data)


async def test_a_pointer_from_before_small_blobs_were_inside_is_read(store):
    digest = Digest.of(SMALL)
    async with store.append("data/aa/aa", "") as writer:
        await writer.write(SMALL)
        await writer.finish()
    await store.put(keys.pointer(digest), b'{"data":"data/aa/aa","size":6}')
    await store.put(keys.blob(REPOSITORY, digest), b"")
    assert await read(services(store), digest) == SMALL


@pytest.mark.parametrize(
    "stored",
    [
        b"",
        b"{}",
        b'{"size":6}',
        b'{"size":6}\n12345',
        b'{"size":6}\n1234567',
        b'{"size":6,"data":"data/a"}\n123456',
        b'{"size":6,"newer":1}\n123456',
    ],
)
def test_a_pointer_that_makes_no_sense_is_never_half_read(stored):
    with pytest.raises(Corrupt):
        Pointer.unpack(stored)


def test_a_pointer_is_unpacked_as_it_was_packed():
    for pointer, content in (
        (Pointer(6), SMALL),
        (Pointer(0), b""),
        (Pointer(1), b"\n"),
        (Pointer(6, "data/a"), b""),
    ):
        assert Pointer.unpack(pointer.pack(content)) == (pointer, content)
