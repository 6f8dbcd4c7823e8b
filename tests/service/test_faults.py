"""A fault at every call that the services make to the store: what was answered holds, the rest
can be done again, and nothing is ever half there."""

from contextlib import suppress
from itertools import count

import pytest

from registry.service.services import Services
from registry.spec.conditions import Conditions
from registry.spec.digest import Digest
from registry.spec.errors import BlobUnknown, ManifestUnknown, UploadUnknown
from registry.spec.names import Place, Tag
from registry.spec.pagination import Page
from storage.inprocess import InProcessCoordinator
from storage.memory import MemoryStore
from storage.ports import Unavailable
from storage.testing import Crash, FaultyStore
from tests.service.content import chunk, image, push

REPOSITORY = Place("project/env")
OTHER = Place("project/other")
LAYER = b"layer" * 140_000
HELD = b"held" * 20_000
"""A layer that the record of its session holds, as it holds configs."""
CONFIG = b"{}"
PATCHED = b"patched"
FIRST, SECOND = image(LAYER), image(LAYER, CONFIG)
V1, LATEST = Tag("v1"), Tag("latest")


def services(store) -> Services:
    return Services.over(store, InProcessCoordinator(), files=None, memory=1024 * 1024)


class Client:
    """Does a whole life of an image, one answered step at a time, from where it was."""

    def __init__(self) -> None:
        self.done: set[str] = set()

    async def step(self, name: str, request) -> None:
        if name not in self.done:
            await request()
            self.done.add(name)

    async def run(self, registry: Services) -> None:
        uploads, manifests, blobs = registry.uploads, registry.manifests, registry.blobs
        deletions = registry.deletions

        async def layer() -> None:
            session = (await uploads.start(REPOSITORY, "me")).session
            await uploads.append(REPOSITORY, session, "me", chunk(LAYER[:599_999]))
            last = chunk(LAYER[599_999:])
            await uploads.finish(REPOSITORY, session, "me", Digest.of(LAYER), last)

        async def patched(data: bytes) -> None:
            session = (await uploads.start(REPOSITORY, "me")).session
            await uploads.append(REPOSITORY, session, "me", chunk(data))
            await uploads.finish(REPOSITORY, session, "me", Digest.of(data), chunk(b""))

        await self.step("layer", layer)
        await self.step("held", lambda: patched(HELD))
        await self.step("patched", lambda: patched(PATCHED))
        await self.step(
            "config", lambda: uploads.upload(REPOSITORY, "me", Digest.of(CONFIG), chunk(CONFIG))
        )
        await self.step("mount", lambda: blobs.mount(OTHER, Digest.of(LAYER), REPOSITORY))
        await self.step("v1", lambda: manifests.put(REPOSITORY, push(FIRST, V1), "me"))
        await self.step("first", lambda: manifests.put(REPOSITORY, push(FIRST, LATEST), "me"))
        await self.step("second", lambda: manifests.put(REPOSITORY, push(SECOND, LATEST), "me"))
        await self.step("untag", lambda: self.gone(deletions.delete(REPOSITORY, V1, Conditions())))
        await self.step(
            "delete",
            lambda: self.gone(deletions.delete(REPOSITORY, Digest.of(SECOND), Conditions())),
        )
        await self.step("blob", lambda: self.gone(blobs.delete(OTHER, Digest.of(LAYER))))

    async def gone(self, request) -> None:
        """A deletion whose answer was lost finds nothing when it is repeated."""
        with suppress(ManifestUnknown, BlobUnknown):
            await request

    async def check(self, registry: Services) -> None:
        """What was answered is there, and nothing that is named is missing."""
        if "layer" in self.done:
            blob = await registry.blobs.find(REPOSITORY, Digest.of(LAYER))
            async with registry.blobs.open(blob, 0, blob.size) as reader:
                assert b"".join([data async for data in reader]) == LAYER
        for name, data in (("held", HELD), ("patched", PATCHED)):
            if name in self.done:
                blob = await registry.blobs.find(REPOSITORY, Digest.of(data))
                async with registry.blobs.open(blob, 0, blob.size) as reader:
                    assert b"".join([piece async for piece in reader]) == data
        if "first" in self.done:
            page = await registry.tags.page(REPOSITORY, Page(None, None))
            for name in page.tags:
                stored = await registry.manifests.get(REPOSITORY, Tag(name))
                assert stored.data in (FIRST, SECOND)
                assert Digest.of(stored.data) == stored.digest
        if "delete" in self.done:
            with pytest.raises(ManifestUnknown):
                await registry.manifests.get(REPOSITORY, Digest.of(SECOND))
            assert list((await registry.tags.page(REPOSITORY, Page(None, None))).tags) == []


async def calls() -> int:
    store = FaultyStore(MemoryStore())
    await Client().run(services(store))
    return store.total


@pytest.mark.parametrize("when", ["before", "after", "half"])
async def test_a_failed_call_can_be_made_good_by_trying_again(when):
    """The store fails once; the client repeats what got no answer, and all is well."""
    most = await calls()
    assert most > 40
    for n in count(1):
        inner = MemoryStore()
        store = FaultyStore(inner)
        store.fail(n, when=when)
        registry, client = services(store), Client()
        for _ in range(3):
            try:
                await client.run(registry)
                break
            except Unavailable:
                await client.check(services(inner))
        await client.check(services(inner))
        assert "blob" in client.done, f"call {n}: {store.log[n - 1]}"
        if store.total < n:
            assert n > most
            break


@pytest.mark.parametrize("when", ["before", "after", "half"])
async def test_a_crash_at_any_call_loses_nothing_that_was_answered(when):
    """The process dies; another one over the same store goes on."""
    for n in count(1):
        inner = MemoryStore()
        store = FaultyStore(inner)
        store.crash(n, when=when)
        client = Client()
        try:
            await client.run(services(store))
        except Crash:
            successor = services(inner)
            await client.check(successor)
            await client.run(successor)
            await client.check(successor)
        if store.total < n:
            break
    assert n > 40


async def test_sessions_whose_time_is_over_are_dropped_with_their_bytes(monkeypatch):
    store = MemoryStore()
    uploads = services(store).uploads
    left = (await uploads.start(REPOSITORY, "me")).session
    await uploads.append(REPOSITORY, left, "me", chunk(b"half of it"))
    cancelled = (await uploads.start(REPOSITORY, "me")).session
    await uploads.cancel(REPOSITORY, cancelled, "me")
    assert await uploads.expire() == 0
    later = 7200.0
    real = __import__("time").time
    monkeypatch.setattr("registry.service.sessions.time.time", lambda: real() + later)
    assert await uploads.expire() == 1, "what was cancelled can't be opened any more"
    assert (await uploads.status(REPOSITORY, left, "me")).offset == 10
    later = 8 * 24 * 3600.0
    assert await uploads.expire() == 1
    assert not await store.list("uploads/")
    with pytest.raises(UploadUnknown):
        await uploads.status(REPOSITORY, left, "me")


async def test_a_session_belongs_to_its_repository_and_principal():
    """CVE-2026-32589."""
    uploads = services(MemoryStore()).uploads
    session = (await uploads.start(REPOSITORY, "me")).session
    for repository, principal in ((OTHER, "me"), (REPOSITORY, "you")):
        for request in (
            uploads.status(repository, session, principal),
            uploads.append(repository, session, principal, chunk(b"x")),
            uploads.cancel(repository, session, principal),
            uploads.finish(repository, session, principal, Digest.of(b"x"), chunk(b"x")),
        ):
            with pytest.raises(UploadUnknown):
                await request
    assert (await uploads.status(REPOSITORY, session, "me")).offset == 0


@pytest.mark.parametrize("data", [LAYER, HELD, CONFIG], ids=["written", "held", "small"])
@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("when", ["before", "after", "half"])
async def test_the_end_of_an_upload_can_be_repeated(when, known, data):
    """Whatever call of it failed, and also where the content was there already."""
    for n in count(1):
        inner = MemoryStore()
        store = FaultyStore(inner)
        uploads, digest = services(store).uploads, Digest.of(data)
        if known:
            await uploads.upload(OTHER, "me", digest, chunk(data))
        session = (await uploads.start(REPOSITORY, "me")).session
        await uploads.append(REPOSITORY, session, "me", chunk(data))
        before = store.total
        store.fail(n, when=when)
        try:
            await uploads.finish(REPOSITORY, session, "me", digest, chunk(b""))
        except Unavailable:
            blob = await uploads.finish(REPOSITORY, session, "me", digest, chunk(b""))
            assert blob.digest == digest, store.log[before:]
        assert (await services(inner).blobs.find(REPOSITORY, digest)).size == len(data)
        if store.total < before + n:
            assert n > 3
            break
