"""Images that are made of images: the same digest, no byte copied, and few calls to the store."""

from contextlib import suppress
from itertools import count

import pytest

from registry.service import derivations
from registry.service.derivations import DEPTH, Source
from registry.service.entries import Entries
from registry.service.services import Services
from registry.service.settling import Settling
from registry.spec.conditions import Conditions, EntityTags
from registry.spec.digest import Digest
from registry.spec.errors import (
    BlobUnknown,
    ManifestBlobUnknown,
    ManifestUnknown,
    PreconditionFailed,
    QuotaExceeded,
)
from registry.spec.mediatype import OCI_INDEX, OCI_MANIFEST
from registry.spec.names import Place, Tag
from registry.spec.pagination import Page
from registry.spec.problems import Invalid
from storage import keys
from storage.inprocess import InProcessCoordinator
from storage.memory import MemoryStore
from storage.testing import Crash, FaultyStore
from tests.service.content import chunk, encode, image, push
from tests.service.quotas import limited, process
from tests.service.test_calls import Rounds

BASE, ENV = Place("base/python"), Place("project/env")
V1, MINE = Tag("4.1"), Tag("mine")
CONFIG = b"{}"


def services(store, **more) -> Services:
    return Services.over(store, InProcessCoordinator(), files=None, memory=4 * 1024 * 1024, **more)


def layers(number: int, size: int = 70_000) -> list[bytes]:
    return [b"%d" % each * (size // len(b"%d" % each)) for each in range(100, 100 + number)]


async def base(registry: Services, *contents: bytes, tag=V1) -> bytes:
    for data in (CONFIG, *contents):
        await registry.uploads.upload(BASE, "me", Digest.of(data), chunk(data))
    body = image(*contents)
    await registry.manifests.put(BASE, push(body, tag), "me")
    return body


def listing(*bodies: bytes, media_type: str = OCI_MANIFEST) -> bytes:
    children = [
        {"mediaType": media_type, "digest": Digest.of(body), "size": len(body)} for body in bodies
    ]
    return encode({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": children})


async def derive(registry: Services, reference=V1, **more):
    source = Source(BASE, reference)
    return await registry.derivations.derive(source, ENV, MINE, "me", **more)


async def check_whole(registry: Services, body: bytes, contents) -> None:
    assert (await registry.manifests.get(ENV, MINE)).data == body
    for data in contents:
        blob = await registry.blobs.find(ENV, Digest.of(data))
        async with registry.blobs.open(blob, 0, blob.size) as reader:
            assert b"".join([piece async for piece in reader]) == data


async def test_what_is_derived_is_the_same_image_and_outlives_its_source():
    registry = services(MemoryStore())
    body = await base(registry, *layers(3))
    derived = await derive(registry)
    assert (derived.digest, derived.media_type) == (Digest.of(body), OCI_MANIFEST)
    await registry.deletions.delete(BASE, Digest.of(body), Conditions())
    for data in (CONFIG, *layers(3)):
        await registry.blobs.delete(BASE, Digest.of(data))
    await check_whole(registry, body, [CONFIG, *layers(3)])


async def asked(number: int, size: int, *, known: bool = False) -> list[list[str]]:
    """Rounds of calls to derive an image of so many layers.

    In a process that knows nothing, or has ``known`` the image since it derived it once before.
    """
    store = Rounds()
    await base(services(store), *layers(number, size))
    registry = services(store)
    if known:
        await registry.derivations.derive(Source(BASE, V1), Place("other/env"), MINE, "me")
    del store.rounds[:]
    await derive(registry)
    return store.rounds


async def test_how_large_an_image_is_makes_no_difference_to_what_the_store_is_asked():
    small, large = await asked(8, 70_000), await asked(8, 3_000_000)
    assert small == large
    assert not [call for each in small for call in each if "data" in call], "no byte is touched"


async def test_all_layers_are_mounted_by_one_write_and_looked_for_once():
    """Two reads of each layer, in a process that knows nothing; and nothing else of any of them."""
    few, many = await asked(2, 70_000), await asked(40, 70_000)
    assert len(few) == len(many) == 8
    calls = [sum(map(len, rounds)) for rounds in (few, many)]
    assert calls[1] - calls[0] == 38 * 2


async def test_how_many_layers_an_image_has_makes_no_difference_where_its_base_is_known():
    few, many = await asked(2, 70_000, known=True), await asked(40, 70_000, known=True)
    assert few == many


async def test_whether_there_are_limits_is_asked_once():
    store = Rounds()
    registry = services(store, projects=True)
    await base(registry, *layers(8))
    del store.rounds[:]
    await derive(registry)
    assert [call for each in store.rounds for call in each].count("stat quotas") == 1


async def test_a_base_that_is_known_is_not_read_again():
    store = Rounds()
    registry = services(store)
    await base(registry, *layers(8))
    await derive(registry)
    del store.rounds[:]
    await registry.derivations.derive(Source(BASE, V1), Place("other/env"), MINE, "me")
    reads = [call for each in store.rounds for call in each if call.startswith("get ")]
    assert [call for call in reads if "blobs" in call] == []


async def test_an_index_comes_with_all_its_parts():
    registry = services(MemoryStore())
    bodies = [await base(registry, data, tag=Tag(f"p{at}")) for at, data in enumerate(layers(3))]
    inner = listing(*bodies[:2])
    outer = listing(inner, media_type=OCI_INDEX)
    for body, tag in ((inner, Tag("inner")), (outer, V1)):
        await registry.manifests.put(BASE, push(body, tag, media_type=OCI_INDEX), "me")
    await derive(registry)
    await check_whole(registry, outer, layers(2))
    for body in (inner, *bodies[:2]):
        assert (await registry.manifests.get(ENV, Digest.of(body))).data == body
    with pytest.raises(ManifestUnknown):
        await registry.manifests.get(ENV, Digest.of(bodies[2]))
    assert list((await registry.tags.page(ENV, Page(None, None))).tags) == [MINE]


async def test_indexes_that_are_nested_too_deep_are_refused_and_leave_nothing():
    registry = services(MemoryStore())
    body, media_type = await base(registry, *layers(1)), OCI_MANIFEST
    for _ in range(DEPTH + 1):
        body, media_type = listing(body, media_type=media_type), OCI_INDEX
        await registry.manifests.put(BASE, push(body, V1, media_type=OCI_INDEX), "me")
    with pytest.raises(Invalid):
        await derive(registry)
    assert not await registry.catalog.knows(ENV)


async def test_without_a_source_nothing_is_made():
    registry = services(MemoryStore())
    await base(registry, *layers(1))
    for reference in (Tag("none"), Digest.of(b"none")):
        with pytest.raises(ManifestUnknown):
            await derive(registry, reference)
    assert not await registry.catalog.knows(ENV)


async def test_a_source_that_lacks_a_layer_gives_no_tag():
    registry = services(MemoryStore())
    await base(registry, *layers(2))
    await registry.blobs.delete(BASE, Digest.of(layers(2)[0]))
    with pytest.raises(ManifestBlobUnknown):
        await derive(registry)
    with pytest.raises(ManifestUnknown):
        await registry.manifests.get(ENV, MINE)


async def test_a_tag_within_one_repository_mounts_nothing():
    store = Rounds()
    registry = services(store)
    body = await base(registry, *layers(8))
    del store.rounds[:]
    await registry.derivations.derive(Source(BASE, V1), BASE, Tag("stable"), "me")
    assert not [call for each in store.rounds for call in each if "refs" in call]
    assert (await registry.manifests.get(BASE, Tag("stable"))).data == body


async def test_conditions_are_those_of_a_push():
    registry = services(MemoryStore())
    await base(registry, *layers(1))
    absent = Conditions(if_none_match=EntityTags(anything=True))
    await derive(registry, conditions=absent)
    with pytest.raises(PreconditionFailed):
        await derive(registry, conditions=absent)


async def test_a_blob_that_was_deleted_after_it_was_mounted_is_not_remembered():
    """What is remembered of a mount goes with the next deletion, by whomever."""
    registry = services(MemoryStore())
    await base(registry, *layers(1))
    digest = Digest.of(layers(1)[0])
    await registry.blobs.mount(ENV, digest, BASE)
    await registry.blobs.delete(ENV, digest)
    with pytest.raises(BlobUnknown):
        await registry.blobs.find(ENV, digest)
    await registry.blobs.mount(ENV, digest, BASE)
    assert await registry.blobs.holds(ENV, digest)


@pytest.mark.parametrize("when", ["before", "after", "half"])
async def test_what_broke_off_anywhere_leaves_no_half_image_and_can_be_repeated(when):
    for n in count(1):
        inner = MemoryStore()
        body = await base(services(inner), *layers(3))
        store = FaultyStore(inner)
        store.crash(n, when=when)
        with suppress(Crash):
            await derive(services(store))
        fresh = services(inner)
        with suppress(ManifestUnknown):
            stored = await fresh.manifests.get(ENV, MINE)
            await check_whole(fresh, stored.data, [CONFIG, *layers(3)])
        await derive(fresh)
        await check_whole(fresh, body, [CONFIG, *layers(3)])
        if store.total < n:
            assert n > 15
            break


@pytest.mark.parametrize(
    ("name", "most"), [("MOST", 2), ("MOST_BLOBS", 3), ("MOST_BYTES", None)], ids=lambda each: each
)
async def test_an_image_of_too_much_is_refused(monkeypatch, name, most):
    registry = services(MemoryStore())
    bodies = [await base(registry, data, tag=Tag(f"c{n}")) for n, data in enumerate(layers(3))]
    index = listing(*bodies)
    await registry.manifests.put(BASE, push(index, V1, media_type=OCI_INDEX), "me")
    await derive(registry)
    held = sum(map(len, bodies))
    monkeypatch.setattr(derivations, name, held - 1 if most is None else most)
    with pytest.raises(Invalid, match="the image has"):
        await derive(registry)
    monkeypatch.setattr(derivations, name, held if most is None else most + 2)
    await derive(registry)


async def test_an_index_that_says_less_of_its_parts_than_they_have_is_refused():
    registry = services(MemoryStore(), allow_sparse=True)
    index = listing(image(*layers(1))).replace(b'"size":', b'"size":1')
    await registry.manifests.put(BASE, push(index, V1, media_type=OCI_INDEX), "me")
    await base(registry, *layers(1), tag=Tag("part"))
    with pytest.raises(Invalid, match="another size"):
        await derive(registry)


async def settle(registry: Services, store) -> None:
    entries = Entries(store, exact=True)
    await Settling(
        store, InProcessCoordinator(), entries, registry.candidates, registry.terms
    ).everything()


async def test_a_project_with_limits_pays_once_for_what_is_derived():
    store = MemoryStore()
    registry = process(store)
    body = await base(registry, *layers(3))
    kept = len(OCI_MANIFEST) + 1 + len(body)
    used = len(CONFIG) + sum(map(len, layers(3))) + kept
    await limited(store, bytes=2 * used)
    await derive(registry)

    async def check() -> None:
        counted = await registry.quotas.counting.of(ENV.tenant)
        assert (counted.account.used.bytes, counted.drift) == (used, 0)

    await check()
    await derive(registry)
    await check()
    await settle(registry, store)
    await check()
    await registry.blobs.delete(ENV, Digest.of(CONFIG))
    await derive(registry)
    await check()


async def test_what_does_not_fit_into_a_project_is_not_derived():
    store = MemoryStore()
    registry = process(store)
    await base(registry, *layers(3))
    await limited(store, bytes=len(layers(3)[0]))
    with pytest.raises(QuotaExceeded):
        await derive(registry)
    assert not await store.list(keys.MOUNTS)
    assert (await registry.quotas.counting.of(ENV.tenant)).account.used.bytes == 0
