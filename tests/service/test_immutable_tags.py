"""Immutable tags: what is refused changes nothing, and all else goes on as ever."""

import asyncio

import pytest

from registry.service.presence import exists
from registry.service.services import Services
from registry.spec.conditions import Conditions
from registry.spec.digest import Digest
from registry.spec.errors import Denied, ManifestUnknown
from registry.spec.names import Place, Tag
from registry.spec.tagrules import TagRules
from storage import keys
from storage.inprocess import InProcessCoordinator
from storage.memory import MemoryStore
from tests.service.content import image, push

HERE, V1, RC, LATEST = Place("project/env"), Tag("v1"), Tag("v1-rc1"), Tag("latest")
ONE, TWO = image(config=b"1"), image(config=b"2")
ANY = Conditions()


@pytest.fixture
def store():
    return MemoryStore()


@pytest.fixture
def registry(store):
    return Services.over(
        store,
        InProcessCoordinator(),
        files=None,
        memory=0,
        allow_sparse=True,
        rules=TagRules(["v*"], ["*-rc*"]),
    )


async def put(registry, body, tag):
    return await registry.manifests.put(HERE, push(body, tag), "me")


async def target(registry, tag):
    return (await registry.tags.resolve(HERE, tag)).target


async def test_an_immutable_tag_does_not_move_and_nothing_is_stored(registry, store):
    await put(registry, ONE, V1)
    await put(registry, ONE, V1)
    with pytest.raises(Denied, match="v1 is immutable"):
        await put(registry, TWO, V1)
    assert await target(registry, V1) == Digest.of(ONE)
    assert not await exists(store, keys.manifest(HERE, Digest.of(TWO)))


@pytest.mark.parametrize("tag", [RC, LATEST])
async def test_others_move_and_go(registry, tag):
    await put(registry, ONE, tag)
    await put(registry, TWO, tag)
    assert await target(registry, tag) == Digest.of(TWO)
    await registry.deletions.delete(HERE, tag, ANY)
    with pytest.raises(ManifestUnknown):
        await target(registry, tag)


@pytest.mark.parametrize("reference", [V1, Digest.of(ONE)], ids=["tag", "manifest"])
async def test_neither_the_tag_nor_its_manifest_is_deleted(registry, store, reference):
    await put(registry, ONE, LATEST)
    await put(registry, ONE, V1)
    before = await store.list("repos/")
    with pytest.raises(Denied):
        await registry.deletions.delete(HERE, reference, ANY)
    assert await store.list("repos/") == before
    assert await target(registry, LATEST) == await target(registry, V1) == Digest.of(ONE)


async def test_of_pushes_at_the_same_time_one_has_the_tag(registry):
    bodies = [image(config=b"%d" % number) for number in range(8)]
    done = await asyncio.gather(
        *(put(registry, each, V1) for each in bodies), return_exceptions=True
    )
    won = [each for each in done if not isinstance(each, BaseException)]
    assert len(won) == 1
    assert all(isinstance(each, Denied) for each in done if isinstance(each, BaseException))
    assert await target(registry, V1) == won[0].digest
