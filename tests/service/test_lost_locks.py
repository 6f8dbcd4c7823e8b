"""Tags where the store is the only judge: the lock was lost, or there is no Redis."""

import asyncio
import random
import time

import pytest

from registry.service.services import Services
from registry.spec.conditions import Conditions, EntityTags
from registry.spec.digest import Digest
from registry.spec.errors import ManifestUnknown, PreconditionFailed
from registry.spec.names import Place, Tag
from registry.spec.pagination import Page
from storage.coordination import CoordinationUnavailable
from storage.memory import MemoryStore
from storage.ports import AlreadyExists
from storage.ports import PreconditionFailed as SwapLost
from tests.oracle.histories import Operation, unexplained, with_shared_deletions
from tests.service.content import image, push
from tests.service.locks import Blind

REPOSITORY, TAG = Place("project/env"), Tag("latest")
FIRST, SECOND, THIRD = (image(config=b"%d" % number) for number in range(3))
DIGEST = {body: str(Digest.of(body)) for body in (FIRST, SECOND, THIRD)}


class Interrupted(MemoryStore):
    """Calls `before` each write of a tag, and `after` it; either may raise."""

    def __init__(self):
        super().__init__()
        self.before = self.after = self._nothing

    async def _nothing(self, key):
        pass

    async def create(self, key, data, **more):
        return await self._around(key, super().create(key, data, **more))

    async def replace(self, key, data, version, **more):
        return await self._around(key, super().replace(key, data, version, **more))

    async def delete(self, key, **more):
        return await self._around(key, super().delete(key, **more))

    async def _around(self, key, work):
        if "/tags/" not in key:
            return await work
        try:
            await self.before(key)
            found = await work
            await self.after(key)
        finally:
            work.close()
        return found


@pytest.fixture
def store():
    return Interrupted()


@pytest.fixture
def registry(store):
    return Services.over(store, Blind(), files=None, memory=0, allow_sparse=True)


@pytest.fixture
def inexact(store):
    """The same over a store that looks at an object's version before it deletes it."""
    return Services.over(store, Blind(), files=None, memory=0, allow_sparse=True, exact=False)


def put(registry, body, conditions=None):
    return registry.manifests.put(REPOSITORY, push(body, TAG, conditions), "me")


def delete(registry, conditions=None):
    return registry.deletions.delete(REPOSITORY, TAG, conditions or Conditions())


def only_if(body):
    return Conditions(if_match=EntityTags(strong=(f'"{DIGEST[body]}"',)))


async def tagged(registry):
    try:
        return (await registry.manifests.get(REPOSITORY, TAG)).data
    except ManifestUnknown:
        return None


def once(store, other):
    """Let another writer come first, between the reading and the writing of a tag."""

    async def before(key):
        store.before = store._nothing
        await other()

    store.before = before


@pytest.mark.parametrize("there", [False, True])
async def test_a_push_that_lost_a_swap_reads_again_and_swaps_again(store, registry, there):
    if there:
        await put(registry, FIRST)
    once(store, lambda: put(registry, THIRD))
    await put(registry, SECOND)
    assert await tagged(registry) == SECOND
    once(store, lambda: delete(registry))
    await put(registry, FIRST)
    assert await tagged(registry) == FIRST


async def test_a_deletion_that_lost_a_swap_deletes_what_is_there_now(store, registry):
    await put(registry, FIRST)
    once(store, lambda: put(registry, SECOND))
    await delete(registry)
    assert await tagged(registry) is None


@pytest.mark.parametrize("request_", [lambda r: put(r, SECOND, only_if(FIRST)), None])
async def test_a_conditional_change_that_lost_a_swap_is_refused(store, registry, request_):
    await put(registry, FIRST)
    once(store, lambda: put(registry, THIRD))
    with pytest.raises(PreconditionFailed):
        await (request_(registry) if request_ else delete(registry, only_if(FIRST)))
    assert await tagged(registry) == THIRD


@pytest.mark.parametrize("lost", [SwapLost, AlreadyExists])
async def test_a_swap_that_succeeded_and_is_told_to_have_lost_has_succeeded(store, registry, lost):
    """A store repeats a write whose answer it lost, and meets its own."""
    if lost is SwapLost:
        await put(registry, FIRST)

    async def after(key):
        store.after = store._nothing
        raise lost(key)

    store.after = after
    await put(registry, SECOND, only_if(FIRST) if lost is SwapLost else None)
    assert await tagged(registry) == SECOND


async def test_who_loses_again_and_again_is_told_to_come_again(store, registry):
    await put(registry, FIRST)

    async def before(key):
        raise SwapLost(key)

    store.before = before
    with pytest.raises(CoordinationUnavailable):
        await put(registry, SECOND)
    assert await tagged(registry) == FIRST


async def test_what_goes_only_if_it_is_still_so_needs_a_lock_or_an_exact_store(inexact):
    """Between the look and the deletion another writer may move the tag."""
    await put(inexact, FIRST)
    with pytest.raises(CoordinationUnavailable):
        await delete(inexact, only_if(FIRST))
    with pytest.raises(CoordinationUnavailable):
        await inexact.deletions.delete(REPOSITORY, Digest.of(FIRST), Conditions())
    assert await tagged(inexact) == FIRST
    await delete(inexact)
    assert await tagged(inexact) is None
    await inexact.deletions.delete(REPOSITORY, Digest.of(FIRST), Conditions())


async def test_a_tag_that_moves_back_while_its_link_goes_keeps_it(store, registry):
    """Else the manifest's deletion would not find the tag, and leave it pointing at nothing."""
    await put(registry, FIRST)
    await put(registry, SECOND)
    unlink = store.delete

    async def late(key, **more):
        if "/tagged/" in key:
            store.delete = unlink
            await put(registry, SECOND)
        await unlink(key, **more)

    store.delete = late
    await put(registry, FIRST)
    store.delete = unlink
    assert await tagged(registry) in (FIRST, SECOND)
    for body in (FIRST, SECOND):
        await registry.deletions.delete(REPOSITORY, Digest.of(body), Conditions())
    page = await registry.tags.page(REPOSITORY, Page(None, None))
    assert list(page.tags) == []


@pytest.mark.parametrize("seed", range(5))
async def test_many_writers_and_readers_see_one_register(store, registry, seed):
    chance = random.Random(seed)  # noqa: S311
    history = []

    async def pause(key):
        await asyncio.sleep(chance.choice([0, 0, 0.001, 0.003]))

    store.before = store.after = pause

    async def one(name):
        for number in range(20):
            await asyncio.sleep(chance.random() * 0.003)
            now, kind = await tagged(registry), chance.choice(["put", "put", "delete", "read"])
            expected = str(Digest.of(now)) if now and chance.random() < 0.5 else None
            conditions = (
                Conditions(if_match=EntityTags(strong=(f'"{expected}"',)))
                if expected
                else Conditions()
            )
            body = image(config=f"{name}-{number}".encode())
            operation = {"kind": kind, "invoked": time.monotonic()}
            try:
                if kind == "read":
                    found = await tagged(registry)
                    operation["value"] = str(Digest.of(found)) if found else None
                elif kind == "put":
                    operation |= {"value": str(Digest.of(body)), "expected": expected}
                    await put(registry, body, conditions)
                else:
                    operation["expected"] = expected
                    await delete(registry, conditions)
            except PreconditionFailed as refusal:
                seen = (refusal.detail or {}).get("digest")
                operation |= {"outcome": "refused", "seen": seen}
            except ManifestUnknown:
                operation["outcome"] = "missing"
            history.append(Operation(**operation, response=time.monotonic()))

    await asyncio.gather(*(one(f"{seed}-{number}") for number in range(6)))
    assert len(history) == 120
    assert unexplained(with_shared_deletions(history)) == []
