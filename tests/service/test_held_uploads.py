"""Uploads of few bytes: their session's record holds all of them until they get their name."""

from itertools import count

import pytest

from registry.service.blobs import SMALL
from registry.service.intake import Chunk
from registry.service.records import Corrupt, UploadRecord
from registry.service.services import Services
from registry.spec.digest import Digest
from registry.spec.errors import DigestMismatch, UploadUnknown
from registry.spec.names import Place
from storage import keys
from storage.inprocess import InProcessCoordinator
from storage.memory import VALUE as HELD
from storage.memory import MemoryStore
from storage.ports import Unavailable
from storage.testing import Crash, FaultyStore
from tests.service.content import chunk

REPOSITORY = Place("project/env")
SIZES = [1, 6, SMALL, SMALL + 1, HELD, HELD + 1]


@pytest.fixture
def store():
    return FaultyStore(MemoryStore())


def services(store) -> Services:
    return Services.over(store, InProcessCoordinator(), files=None, memory=1024 * 1024)


def content(size):
    return b"\n{}\r" * (size // 4) + b"\n" * (size % 4)


async def opened(store):
    return (await services(store).uploads.start(REPOSITORY, "me")).session


async def append(store, session, data):
    """A PATCH that any process answers."""
    return (await services(store).uploads.append(REPOSITORY, session, "me", chunk(data))).offset


async def finish(store, session, data, last=b""):
    """The closing PUT, of another process."""
    uploads = services(store).uploads
    return await uploads.finish(REPOSITORY, session, "me", Digest.of(data), chunk(last))


async def read(store, digest):
    registry = services(store)
    blob = await registry.blobs.find(REPOSITORY, digest)
    async with registry.blobs.open(blob, 0, blob.size) as reader:
        return b"".join([piece async for piece in reader])


async def left(store):
    """What is there beside the blob, its membership and the key of the sessions."""
    return [*await store.list("uploads/"), *await store.list("data/")]


@pytest.mark.parametrize("size", SIZES)
async def test_a_layer_that_comes_in_one_chunk_is_written_no_more_often_than_it_must(store, size):
    data = content(size)
    session = await opened(store)
    assert await append(store, session, data) == size
    held = size <= HELD
    assert (("checkpoint", keys.data(session)) in store.log) is not held
    blob = await finish(store, session, data)
    assert blob.data == ("" if size <= SMALL else keys.data(session))
    assert await left(store.inner) == [blob.data] * bool(blob.data)
    assert await read(store.inner, Digest.of(data)) == data


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("pieces", [2, 3, 7])
async def test_another_replica_goes_on_at_any_byte(store, size, pieces):
    data = content(size)
    session = await opened(store)
    step = -(-size // pieces)
    for start in range(0, size, step):
        status = await services(store).uploads.status(REPOSITORY, session, "me")
        assert status.offset == start
        assert await append(store, session, data[start : start + step]) == min(start + step, size)
    await finish(store, session, data)
    assert await read(store.inner, Digest.of(data)) == data


@pytest.mark.parametrize("size", [6, SMALL + 1, HELD + 1])
@pytest.mark.parametrize("last", [0, 3])
@pytest.mark.parametrize("when", ["before", "after", "half"])
async def test_a_replica_that_dies_at_any_call_leaves_what_it_acknowledged(size, last, when):
    """Another one goes on from where the session says that it is; a repeated end succeeds."""
    data = content(size)
    first, middle, end = data[: size // 2], data[size // 2 : size - last], data[size - last :]
    for n in count(1):
        inner = MemoryStore()
        session = await opened(inner)
        store = FaultyStore(inner)
        store.crash(n, when=when)
        told = 0
        try:
            told = await append(store, session, first)
            told = await append(store, session, middle)
            await finish(store, session, data, end)
            told = size
        except Crash:
            try:
                offset = (await services(inner).uploads.status(REPOSITORY, session, "me")).offset
            except UploadUnknown:
                # Over: nothing but the answer to its end was lost.
                assert told == size - last
            else:
                # Where it has got its name already, this one takes it for a new session.
                assert offset >= told or (offset == 0 and told == size - last)
                if told < size - last:
                    assert offset in (told, len(first), size - last)
                    await append(inner, session, data[offset : size - last])
            await finish(inner, session, data, end)
        assert await read(inner, Digest.of(data)) == data
        assert await inner.list("uploads/") == []
        if store.total < n:
            assert n > 5
            break


@pytest.mark.parametrize("size", [6, SMALL + 1])
async def test_what_came_of_a_chunk_that_broke_off_is_kept(store, size):
    data = content(size)
    session = await opened(store)

    async def broken():
        yield data[:3]
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await services(store).uploads.append(REPOSITORY, session, "me", Chunk(broken(), size, None))
    assert (await services(store).uploads.status(REPOSITORY, session, "me")).offset == 3
    await append(store, session, data[3:])
    await finish(store, session, data)
    assert await read(store.inner, Digest.of(data)) == data


@pytest.mark.parametrize("size", [6, SMALL + 1])
async def test_other_bytes_than_were_named_are_dropped_with_the_session(store, size):
    data = content(size)
    session = await opened(store)
    await append(store, session, data)
    with pytest.raises(DigestMismatch):
        await finish(store, session, b"other")
    with pytest.raises(UploadUnknown):
        await append(store, session, b"x")
    (record,) = [await store.inner.get(key) for key in await left(store.inner)]
    assert data not in record.data


@pytest.mark.parametrize("size", [6, SMALL + 1])
async def test_a_cancelled_session_holds_nothing(store, size):
    session = await opened(store)
    await append(store, session, content(size))
    await services(store).uploads.cancel(REPOSITORY, session, "me")
    (key,) = await left(store.inner)
    assert len((await store.inner.get(key)).data) < 100


@pytest.mark.parametrize("size", [6, SMALL + 1])
async def test_the_algorithm_may_be_named_last(store, size):
    data = content(size)
    session = await opened(store)
    await append(store, session, data)
    digest = Digest.of(data, "sha512")
    await services(store).uploads.finish(REPOSITORY, session, "me", digest, chunk(b""))
    assert await read(store.inner, digest) == data


async def test_what_outgrows_its_record_leaves_no_byte_there(store):
    data = content(HELD)
    session = await opened(store)
    await append(store, session, data)
    store.fail(method="checkpoint")
    with pytest.raises(Unavailable):
        await append(store, session, b"x")
    assert (await services(store).uploads.status(REPOSITORY, session, "me")).offset == HELD
    await append(store, session, b"x")
    record = await store.inner.get(keys.upload(session))
    assert len(record.data) < 1000
    await finish(store, session, data + b"x")
    assert await read(store.inner, Digest.of(data + b"x")) == data + b"x"


@pytest.mark.parametrize(
    "stored", [b"", b"{}\n1", b'{"offset":2}\n1', b'{"offset":1}\n12', b'{"content":"MTI="}']
)
def test_a_record_that_makes_no_sense_is_never_half_read(stored):
    with pytest.raises(Corrupt):
        UploadRecord.decode(stored)


def test_a_record_is_decoded_as_it_was_encoded():
    for record in (
        UploadRecord(),
        UploadRecord(7, "progress", "hash", tenant="t", charged=7),
        UploadRecord(1, content=b"\n"),
        UploadRecord(6, content=b"{}\n\n{}", charged=6, owner="me"),
    ):
        assert UploadRecord.decode(record.encode()) == record
