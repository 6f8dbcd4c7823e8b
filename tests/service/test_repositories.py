"""Whole repositories are deleted and had back: alone, broken off, and beside pushes."""

from contextlib import asynccontextmanager, suppress
from itertools import count

import pytest

from auth.identity import ANONYMOUS
from auth.policy import OpenPolicy
from registry.service.services import Services
from registry.spec.conditions import Conditions
from registry.spec.digest import Digest
from registry.spec.errors import Denied, ManifestUnknown, NameUnknown
from registry.spec.mediatype import OCI_INDEX, OCI_MANIFEST
from registry.spec.names import Tag
from registry.spec.pagination import Page
from registry.spec.tagrules import TagRules
from storage import keys
from storage._stamps import slots
from storage.coordination import Change
from storage.inprocess import InProcessCoordinator
from storage.memory import MemoryStore
from storage.ports import Unavailable
from storage.testing import Crash, FaultyStore
from tests.service.collection import BLOBS, DIGEST, GRACE, IMAGE, V1, WINDOW, A, B, Clock, Registry
from tests.service.content import descriptor, encode, image, push
from tests.service.locks import Blind
from tests.service.test_interleavings import ALL, Schedules, Turns, interleave

SHARES = (1.0, 1.0 if ALL else 0.08)

V2 = Tag("v2")
OTHER = image(config=b"other")
ARTIFACT = image(subject=DIGEST)


async def catalog(services: Services) -> list[str]:
    page = await services.catalog.page(Page(None, None), OpenPolicy().visible(ANONYMOUS, ""))
    return list(page.repositories)


@pytest.fixture
async def registry(monkeypatch):
    registry = Registry(Clock(monkeypatch))
    assert await registry.marker().begin()
    for place in (A, B):
        await registry.push(place)
    return registry


async def gone(services: Services, place=A) -> bool:
    """Whether nothing of the repository is to be seen; half of it is wrong."""
    there = place in await catalog(services)
    try:
        await services.tags.page(place, Page(None, None))
    except NameUnknown:
        tags = False
    else:
        tags = True
    try:
        await services.manifests.get(place, DIGEST)
    except ManifestUnknown:
        manifest = False
    else:
        manifest = True
    assert there == tags == manifest
    return not there


async def test_a_repository_goes_with_all_it_holds_and_no_other_does(registry):
    services = registry.services
    await services.manifests.put(A, push(IMAGE, V2), "me")
    await registry.upload(b"other", A)
    await services.manifests.put(A, push(OTHER, Tag("other")), "me")
    done = await services.repositories.delete(A, "me")
    assert (done.manifests, done.tags) == (2, 3)
    assert await gone(services)
    assert not await gone(services, B)
    with pytest.raises(NameUnknown):
        await services.repositories.delete(A, "me")
    await registry.empty()
    assert await registry.pulls(B)
    assert not [key for key in await registry.keys() if "project/a!" in key]


async def test_it_can_be_pushed_to_again_at_once_and_later(registry):
    services = registry.services
    for ahead in (0.0, GRACE, WINDOW + 3 * GRACE):
        await services.repositories.delete(A, "me")
        registry.clock.ahead += ahead
        await registry.collect()
        await registry.push(A)
        assert not await gone(services)
        assert await registry.pulls(A)


async def test_it_is_had_back_as_it_was(registry):
    """Images of an index too, whatever comes first, and what refers to others."""
    services, one = registry.services, Tag("one")
    listed = [descriptor(body, OCI_MANIFEST) for body in (IMAGE, OTHER)]
    both = encode({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": listed})
    await registry.upload(b"other", A)
    for body, tag, media_type in (
        (OTHER, V2, OCI_MANIFEST),
        (both, Tag("all"), OCI_INDEX),
        (ARTIFACT, one, OCI_MANIFEST),
    ):
        await services.manifests.put(A, push(body, tag, media_type=media_type), "me")
    await services.deletions.delete(A, one, Conditions())
    registry.clock.ahead += 10
    done = await services.repositories.delete(A, "me")
    registry.clock.ahead += WINDOW - 1
    await registry.collect()
    back = await services.repositories.undelete(A, done.since, "you")
    assert (back.manifests, back.tags, list(back.lost)) == (4, 3, [])
    assert await catalog(services) == [A, B]
    assert list((await services.tags.page(A, Page(None, None))).tags) == ["all", "v1", "v2"]
    found, _ = await services.manifests.referrers_of(A, DIGEST, (), Page(None, None))
    assert [each["digest"] for each in found] == [Digest.of(ARTIFACT)]
    await registry.empty()
    assert await registry.pulls(A)
    with pytest.raises(NameUnknown):
        await services.repositories.undelete(A, done.since, "you")


async def test_what_was_deleted_before_stays_deleted_and_what_is_lost_is_told(registry):
    services = registry.services
    await registry.upload(b"other", A)
    await services.manifests.put(A, push(OTHER, V2), "me")
    await services.deletions.delete(A, Digest.of(OTHER), Conditions())
    registry.clock.ahead += 10
    done = await services.repositories.delete(A, "me")
    back = await services.repositories.undelete(A, done.since, "me")
    assert (back.manifests, back.tags) == (1, 1)
    with pytest.raises(ManifestUnknown):
        await services.manifests.get(A, V2)
    done = await services.repositories.delete(A, "me")
    await services.blobs.delete(A, BLOBS[0])
    back = await services.repositories.undelete(A, done.since, "me")
    assert (back.manifests, back.tags, list(back.lost)) == (0, 0, [DIGEST])
    assert await gone(services)


async def test_nothing_goes_where_a_tag_has_to_stay():
    services = Services.over(
        MemoryStore(),
        InProcessCoordinator(),
        files=None,
        memory=0,
        allow_sparse=True,
        rules=TagRules(("v*",)),
    )
    for body, tag in ((OTHER, Tag("a")), (IMAGE, V1)):
        await services.manifests.put(A, push(body, tag), "me")
    with pytest.raises(Denied, match="v1"):
        await services.repositories.delete(A, "me")
    assert list((await services.tags.page(A, Page(None, None))).tags) == ["a", "v1"]


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("fault", ["fail", "crash"])
@pytest.mark.parametrize("when", ["before", "after", "half"])
async def test_one_that_breaks_off_anywhere_is_done_again_or_pushed_over(
    monkeypatch, fault, when, exact
):
    """What is there stays listed, an emptied one is no harm; a push that follows is whole."""
    clock = Clock(monkeypatch)
    for n in count(1):
        for then in ("delete", "push"):
            process = Registry(clock, FaultyStore(MemoryStore()), exact=exact)
            assert await process.marker().begin()
            await process.push(A)
            await process.services.manifests.put(A, push(IMAGE, V2), "me")
            store = process.store
            calls = store.total
            getattr(store, fault)(calls + n, when=when)
            with suppress(Unavailable, Crash):
                await process.services.repositories.delete(A, "me")
            reached = store.total - calls
            heir = Registry(clock, store.inner, exact=exact)
            with suppress(ManifestUnknown):
                await heir.services.manifests.get(A, DIGEST)
                assert await catalog(heir.services) == [A]
            if then == "delete":
                with suppress(NameUnknown):
                    await heir.services.repositories.delete(A, "me")
                assert await gone(heir.services)
            else:
                await heir.push(A)
                assert not await gone(heir.services)
                assert await heir.pulls(A)
        if reached < n:
            break
    assert n > 15


class LosesLocks(InProcessCoordinator):
    """Whoever changes something loses the lock at once, but what was remembered is over."""

    @asynccontextmanager
    async def change(self, *names, wait=10.0):
        self._renew(names)
        yield Change(lambda: False)
        self._renew(names)

    def _renew(self, names) -> None:
        self._stamps.begin(slots(names))
        self._stamps.end(slots(names))


COORDINATORS = [InProcessCoordinator, LosesLocks, Blind]


def _here(monkeypatch):
    async def here(function, *arguments):
        return function(*arguments)

    monkeypatch.setattr("asyncio.to_thread", here)
    monkeypatch.setattr("registry.service.tags._FIRST_PAUSE", 0.0)


async def holds(services: Services, store: MemoryStore) -> bool:
    """Whether the repository has manifests; it is listed exactly then, and no tag leads nowhere."""
    manifests = await store.list(keys.manifests(A))
    assert await catalog(services) == ([A] if manifests else [])
    for key in await store.list(keys.tags(A)):
        await services.manifests.get(A, Tag(keys.last_segment(key)))
    return bool(manifests)


@pytest.mark.parametrize("coordinator", COORDINATORS)
@pytest.mark.parametrize("before", ["nothing", "the same", "another"])
@pytest.mark.parametrize("tagged", [True, False])
async def test_a_push_beside_it_is_listed_in_every_order_of_their_calls(
    monkeypatch, coordinator, before, tagged
):
    _here(monkeypatch)
    schedules = Schedules(2, SHARES)
    stood = went = 0
    for first, switches in schedules:
        store = Turns()
        services = Services.over(
            store, coordinator(), files=None, memory=1 << 20, allow_sparse=True
        )
        if before != "nothing":
            body = IMAGE if before == "the same" else OTHER
            await services.manifests.put(A, push(body, V1), "me")
            assert await services.catalog.knows(A)
        setup = store.total

        async def delete(services=services):
            with suppress(NameUnknown):
                await services.repositories.delete(A, "me")

        request = push(IMAGE, V1) if tagged else push(IMAGE, DIGEST)
        await interleave(
            store, [services.manifests.put(A, request, "me"), delete()], first, switches
        )
        schedules.took(store.total - setup)
        heir = Services.over(store, InProcessCoordinator(), files=None, memory=0, allow_sparse=True)
        there = await holds(heir, store.inner)
        if not switches:
            assert there == (first == 1), "one after the other"
        stood, went = stood + there, went + (not there)
    print(f"{schedules.tried} orders: the push stood in {stood}, went in {went}")
    assert min(stood, went) > 3
