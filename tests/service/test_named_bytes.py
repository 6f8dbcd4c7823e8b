"""What a digest names: just the bytes that have it, at a key that no other digest names."""

from contextlib import suppress
from itertools import count

import pytest

from registry.service.services import Services
from registry.spec.digest import Digest
from registry.spec.errors import (
    BlobUnknown,
    DigestMismatch,
    RangeInvalid,
    UploadUnknown,
)
from registry.spec.names import Place
from storage import keys
from storage.filesystem import FileStore
from storage.inprocess import InProcessCoordinator
from storage.memory import MemoryStore
from storage.ports import Unavailable
from storage.testing import FaultyStore
from storage.testing.content import pattern
from tests.fixtures.stores import s3_store, settings_of
from tests.service.content import chunk

OURS, THEIRS = Place("ours/env"), Place("theirs/env")
BLOCK = 512 * 1024
DATA = pattern(300_000)


@pytest.fixture(params=["memory", "files", "s3"])
async def store(request, tmp_path):
    if request.param == "memory":
        yield MemoryStore()
    elif request.param == "files":
        store = FileStore(tmp_path)
        yield store
        store.close()
    else:
        async with s3_store(settings_of(request.getfixturevalue("minio"))) as store:
            yield store


def services(store) -> Services:
    """Those of another process, which remembers nothing."""
    return Services.over(store, InProcessCoordinator(), files=None, memory=0)


def digest_of(data, algorithm="sha256"):
    return Digest.of(data, algorithm)


async def opened(store, place=OURS):
    return (await services(store).uploads.start(place, "me")).session


async def append(store, session, data):
    return (await services(store).uploads.append(OURS, session, "me", chunk(data))).offset


async def finish(store, session, digest, last=b""):
    return await services(store).uploads.finish(OURS, session, "me", digest, chunk(last))


async def read(store, place, digest):
    registry = services(store)
    blob = await registry.blobs.find(place, digest)
    async with registry.blobs.open(blob, 0, blob.size) as reader:
        return b"".join([piece async for piece in reader])


async def test_bytes_that_were_hashed_and_not_taken_are_in_no_digest(store):
    """Of a session that is over, as another process sees it: what stands there is not the bytes."""
    start, rest, other = pattern(2 * BLOCK), b"r" * 1000, b"n" * 100_000
    session = await opened(store)
    await append(store, session, start)
    await finish(store, session, digest_of(start + rest), rest)
    with pytest.raises(UploadUnknown):
        await append(store, session, start + other)
    wrong = digest_of(start + other + rest)
    with pytest.raises((UploadUnknown, DigestMismatch, RangeInvalid)):
        await finish(store, session, wrong, rest)
    with pytest.raises(BlobUnknown):
        await read(store, OURS, wrong)
    assert await read(store, OURS, digest_of(start + rest)) == start + rest


@pytest.mark.parametrize("when", ["before", "half", "after"])
@pytest.mark.parametrize("files", [False, True])
async def test_an_upload_goes_on_after_a_write_that_failed(tmp_path, files, when):
    data = pattern(3 * BLOCK + 1000)
    for number in count(1):
        inner = FileStore(tmp_path / str(number)) if files else MemoryStore()
        store = FaultyStore(inner)
        session = await opened(store)
        first, began = services(store).uploads, store.total
        store.fail(began + number, when=when)
        with suppress(Unavailable):
            await first.append(OURS, session, "me", chunk(data))
        reached = store.total >= began + number
        store = inner
        offset = (await services(store).uploads.status(OURS, session, "me")).offset
        if offset < len(data):
            await append(store, session, data[offset:])
        await finish(store, session, digest_of(data))
        assert await read(store, OURS, digest_of(data)) == data
        if not reached:
            break
    assert number > 5


@pytest.mark.parametrize("first", ["sha256", "sha512"])
async def test_an_end_that_comes_again_by_another_algorithm_takes_nobodys_bytes(store, first):
    second = "sha512" if first == "sha256" else "sha256"
    session = await opened(store)
    one = await finish(store, session, digest_of(DATA, first), DATA)
    for algorithm in (first, second):
        theirs = services(store).uploads
        await theirs.upload(THEIRS, "they", digest_of(DATA, algorithm), chunk(DATA))
    registry = services(store)
    again = digest_of(DATA, second)
    two = await registry.uploads.finish(OURS, session, "me", again, chunk(DATA))
    assert two.data != one.data
    await registry.candidates.flush()
    for algorithm in (first, second):
        assert await read(store, THEIRS, digest_of(DATA, algorithm)) == DATA


async def test_what_another_algorithm_names_at_last_has_a_key_of_its_own(store):
    session = await opened(store)
    data = pattern(2 * BLOCK)
    await append(store, session, data)
    digest = digest_of(data, "sha512")
    blob = await finish(store, session, digest)
    assert blob.data == keys.data_by(session, "sha512")
    assert await store.list("data/") == [blob.data]
    assert await read(store, OURS, digest) == data
    assert (await finish(store, session, digest)).data == blob.data
    with pytest.raises((UploadUnknown, DigestMismatch)):
        await finish(store, session, digest_of(data))


async def test_another_algorithm_that_does_not_fit_leaves_nothing(store):
    session = await opened(store)
    await append(store, session, pattern(2 * BLOCK))
    with pytest.raises(DigestMismatch):
        await finish(store, session, digest_of(b"other", "sha512"))
    assert await store.list("data/") == []
