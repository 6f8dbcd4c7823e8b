"""Retention at work: what goes, what stays whatever happens meanwhile, and having it back."""

import asyncio
import contextlib
import time

import pytest

from auth.identity import Identity
from auth.passwords import Passwords
from registry.service.projects.projects import Wanted
from registry.service.projects.retention_runs import LEASE, RetentionRuns
from registry.service.projects.tenancy import Tenancy
from registry.service.pulls.history import PullHistory
from registry.service.retention import BY
from registry.service.services import Services
from registry.service.terms import Terms
from registry.spec.conditions import Conditions
from registry.spec.digest import Digest
from registry.spec.errors import ManifestBlobUnknown, ManifestUnknown
from registry.spec.mediatype import OCI_INDEX, OCI_MANIFEST
from registry.spec.names import Place, Tag
from registry.spec.retention import DAY, Retention, RetentionRule
from registry.spec.tagrules import TagRules
from storage import keys
from storage.coordination import LeaseHeld
from storage.inprocess import InProcessCoordinator
from storage.memory import MemoryStore
from storage.ports import Unavailable
from storage.testing import FaultyStore
from tests.service.content import chunk, descriptor, encode, image, push

HERE, NAME = Place("id/env"), "demo/env"
LAST = Retention((RetentionRule("last", ("ci-*",), (), keep_last=2),), untagged_days=7)


def index(*children, subject=None):
    listed = [descriptor(each, OCI_MANIFEST) for each in children]
    return encode({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": listed})


class Registry:
    """A repository, whose clock can be put on; each image differs."""

    def __init__(self, store=None, coordinator=None, **more) -> None:
        self.store = store or MemoryStore()
        self.ahead = 0.0
        terms = Terms(clock=lambda: time.time() + self.ahead)
        coordinator = coordinator or InProcessCoordinator()
        self.services = Services.over(
            self.store, coordinator, files=None, memory=0, terms=terms, **more
        )

    async def push(self, number, *tags, subject=None):
        config = b"%d" % number
        await self.services.uploads.upload(HERE, "me", Digest.of(config), chunk(config))
        body = image(config=config, subject=subject)
        for tag in tags:
            await self.services.manifests.put(HERE, push(body, Tag(tag)), "me")
        if not tags:
            await self.services.manifests.put(HERE, push(body, Digest.of(body)), "me")
        return body

    async def push_index(self, body, reference):
        return await self.services.manifests.put(
            HERE, push(body, reference, media_type=OCI_INDEX), "me"
        )

    async def builds(self, count):
        return [await self.push(number, f"ci-{number}") for number in range(count)]

    async def plan(self, retention=LAST):
        made = await self.services.retainer.plan(HERE, NAME, retention)
        return {each.name for each in (*made.tags, *made.manifests) if each.goes}

    async def run(self, retention=LAST, **more):
        return await self.services.retainer.run(HERE, NAME, retention, **more)

    async def tags(self):
        prefix = keys.tags(HERE)
        return {key[len(prefix) :] for key in await self.store.list(prefix)}

    async def has(self, body):
        try:
            await self.services.manifests.get(HERE, Digest.of(body))
        except ManifestUnknown:
            return False
        return True


@pytest.fixture
def registry():
    return Registry()


async def test_tags_go_then_their_images_and_all_comes_back(registry):
    bodies = await registry.builds(4)
    await registry.push(9, "latest")
    assert await registry.plan() == {"ci-0", "ci-1"}
    done = await registry.run()
    assert (done.tags, done.manifests, done.more) == (["ci-0", "ci-1"], [], False)
    assert await registry.tags() == {"ci-2", "ci-3", "latest"}
    registry.ahead = 6 * DAY
    assert await registry.plan() == set(), "they have been untagged for less than their time"
    registry.ahead = 8 * DAY
    assert await registry.plan() == {Digest.of(each) for each in bodies[:2]}
    done = await registry.run()
    assert set(done.manifests) == {Digest.of(each) for each in bodies[:2]}
    assert [await registry.has(each) for each in bodies] == [False, False, True, True]
    (deleted, _), _ = await registry.services.deleted.page(HERE, "", 10)
    assert deleted.by == BY
    back = await registry.services.rollbacks.roll_back(HERE, Tag("ci-0"), "me", None)
    assert back.digest == Digest.of(bodies[0])
    assert await registry.has(bodies[0])


async def test_what_a_deleted_tag_was_is_forgotten_when_it_is_too_old(registry, monkeypatch):
    await registry.builds(3)
    await registry.run()
    await registry.run()
    assert await registry.store.list(keys.histories(HERE)) == [keys.history(HERE, Tag("ci-0"))]
    later = time.time() + 91 * DAY
    monkeypatch.setattr("time.time", lambda: later)
    await registry.run()
    assert await registry.store.list(keys.histories(HERE)) == []


async def test_a_limit_is_kept_and_the_rest_is_done_later(registry):
    await registry.builds(6)
    assert (await registry.run(limit=3)).more
    assert len(await registry.tags()) == 3
    assert not (await registry.run(limit=3)).more
    assert len(await registry.tags()) == 2


async def test_what_was_pulled_stays_and_all_of_it_where_nobody_counts(registry):
    bodies = await registry.builds(3)
    used = Retention((RetentionRule("used", ("ci-*",), (), pulled_within_days=5),))
    assert await registry.plan(used) == set()
    pulls = registry.services.pulls
    pulls.counting = True
    pulls.note(HERE, Tag("ci-0"), Digest.of(bodies[0]), "me")
    pulls.note(HERE, Digest.of(bodies[1]), Digest.of(bodies[1]), "me")
    assert await registry.plan(used) == {"ci-2"}
    registry.ahead = 6 * DAY
    assert await registry.plan(used) == {"ci-0", "ci-1", "ci-2"}


async def test_an_untagged_manifest_that_is_still_pulled_stays_with_what_it_needs(registry):
    """As what runs is: nodes pull by digest."""
    one, other = [await registry.push(number) for number in (1, 2)]
    children = [await registry.push(number) for number in (3, 4)]
    listed = index(*children)
    await registry.push_index(listed, Digest.of(listed))
    everything = {Digest.of(each) for each in (one, other, *children, listed)}
    pulls = registry.services.pulls
    counted = PullHistory(registry.store, clock=lambda: time.time() + registry.ahead)
    pulls.tallies, pulls.counting = counted.tallies, True
    registry.ahead = 8 * DAY
    assert await registry.plan() == everything, "nobody has pulled any"
    for each in (one, listed):
        pulls.note(HERE, Digest.of(each), Digest.of(each), "me")
    registry.ahead = 14 * DAY
    made = await registry.services.retainer.plan(HERE, NAME, LAST)
    assert {each.name: each.why for each in made.manifests if not each.goes} == {
        Digest.of(one): "pulled within 7 days",
        Digest.of(listed): "pulled within 7 days",
        **{Digest.of(each): f"needed by {Digest.of(listed)}" for each in children},
    }
    registry.ahead = 16 * DAY
    assert await registry.plan() == everything
    registry.ahead, pulls.counting = 14 * DAY, False
    assert await registry.plan() == everything, "it is not known who pulls"


async def test_what_is_immutable_stays():
    registry = Registry(rules=TagRules(["ci-0"]))
    await registry.builds(4)
    assert (await registry.run()).tags == ["ci-1"]


async def test_an_untagged_manifest_stays_as_long_as_a_history_is_young(registry):
    """The time counts from when the tag left it, not from its push."""
    bodies = [await registry.push(number, "moving") for number in (1, 2)]
    registry.ahead = 8 * DAY
    record = await registry.services.tags.resolve(HERE, Tag("moving"))
    assert await registry.plan() == {Digest.of(bodies[0])}
    standing = await registry.store.get(keys.tag(HERE, Tag("moving")))
    young = record.decode(standing.data)
    later = type(young)(
        young.digest, young.media_type, young.size, 2, "me", time.time() + 5 * DAY, young.history
    )
    await registry.store.put(keys.tag(HERE, Tag("moving")), later.encode())
    assert await registry.plan() == set()


async def test_children_of_an_index_and_signatures_stay(registry):
    child, other, alone = [await registry.push(number) for number in range(3)]
    signature = await registry.push(3, subject=Digest.of(child))
    lonely = await registry.push(4, subject=Digest.of(alone))
    await registry.push_index(index(child, other), Tag("multi"))
    registry.ahead = 8 * DAY
    assert await registry.plan() == {Digest.of(alone), Digest.of(lonely)}
    await registry.run()
    assert [await registry.has(each) for each in (child, other, signature, alone, lonely)] == [
        True, True, True, False, False,
    ]  # fmt: skip


class Meanwhile(FaultyStore):
    """Does something once, before the first call that fits."""

    def __init__(self) -> None:
        super().__init__(MemoryStore())
        self.fits = lambda _method, _key: False
        self.act = None

    async def step(self, method, key, call, half=None):
        if self.act is not None and self.fits(method, key):
            act, self.act = self.act, None
            await asyncio.create_task(act())
        return await super().step(method, key, call, half)


async def test_a_tag_that_moved_or_came_back_meanwhile_stays():
    store = Meanwhile()
    registry = Registry(store)
    await registry.builds(4)

    async def move():
        await registry.push(7, "ci-0")
        await registry.push(8, "ci-1")
        await registry.push(1, "ci-1")

    store.fits = lambda method, key: method == "list" and "/manifests/" in key
    store.act = move
    done = await registry.run()
    assert store.act is None
    assert done.tags == []
    assert await registry.tags() == {"ci-0", "ci-1", "ci-2", "ci-3"}


async def test_a_manifest_that_was_tagged_meanwhile_stays():
    store = Meanwhile()
    registry = Registry(store)
    body = await registry.push(1)
    registry.ahead = 8 * DAY
    store.fits = lambda method, key: method == "put" and "/deleted/" in key
    store.act = lambda: registry.push(1, "now")
    done = await registry.run()
    assert store.act is None
    assert done.manifests == []
    assert await registry.has(body)


async def test_what_an_index_that_is_pushed_meanwhile_needs_is_had_back():
    store = Meanwhile()
    registry = Registry(store)
    child = await registry.push(1)
    registry.ahead = 8 * DAY
    store.fits = lambda method, key: method == "put" and "/deleted/" in key
    store.act = lambda: registry.push_index(index(child), Tag("multi"))
    done = await registry.run()
    assert store.act is None
    assert (done.manifests, done.restored) == ([], [Digest.of(child)])
    assert await registry.has(child)


async def test_an_index_of_which_something_went_meanwhile_is_refused():
    store = Meanwhile()
    registry = Registry(store)
    child = await registry.push(1)
    registry.ahead = 8 * DAY
    store.fits = lambda method, key: method == "get" and "/tags/multi" in key

    async def expire():
        assert await registry.services.expiry.expire(HERE, Digest.of(child), BY)

    store.act = expire
    with pytest.raises(ManifestBlobUnknown):
        await registry.push_index(index(child), Tag("multi"))
    assert store.act is None


async def test_a_run_that_broke_off_before_it_had_something_back_is_made_good():
    registry = Registry()
    child = await registry.push(1)
    await registry.push_index(index(child), Tag("multi"))
    assert await registry.services.expiry.expire(HERE, Digest.of(child), BY)
    assert not await registry.has(child)
    assert (await registry.run()).restored == [Digest.of(child)]
    assert await registry.has(child)
    await registry.services.deletions.delete(HERE, Digest.of(child), Conditions(), "me")
    assert (await registry.run()).restored == [], "somebody else deleted it"


@pytest.mark.parametrize("when", [*range(1, 60, 3)])
async def test_a_run_that_is_struck_anywhere_is_made_good_by_the_next(when):
    store = FaultyStore(MemoryStore())
    registry = Registry(store)
    bodies = await registry.builds(4)
    untagged = await registry.push(9)
    kept = await registry.push(8)
    await registry.push_index(index(kept), Tag("multi"))
    registry.ahead = 8 * DAY
    seen = 0

    async def step(method, key, call, half=None):
        nonlocal seen
        seen += 1
        if seen == when:
            raise Unavailable(key, "struck")
        return await FaultyStore.step(store, method, key, call, half)

    store.step = step
    with contextlib.suppress(Unavailable):
        await registry.run()
    del store.step
    await registry.run()
    assert await registry.tags() == {"ci-2", "ci-3", "multi"}
    assert not await registry.has(untagged)
    assert [await registry.has(each) for each in (kept, *bodies[2:])] == [True] * 3


async def test_beside_pushes_nothing_acknowledged_is_lost(registry):
    """Tags move all the time; what a push was told of is there while no other push moved it."""
    await registry.builds(3)
    over = False
    told: dict[str, bytes] = {}

    async def pushing(number):
        for round_ in range(12):
            tag = f"ci-{number}"
            told[tag] = await registry.push(100 * number + round_ + 10, tag)
            record = await registry.services.tags.resolve(HERE, Tag("keep"))
            assert record.digest

    async def retaining():
        while not over:
            await registry.run(Retention((RetentionRule("all", ("ci-*",), (), keep_last=4),)))
            await asyncio.sleep(0)

    await registry.push(5, "keep")
    retained = asyncio.create_task(retaining())
    await asyncio.gather(*(pushing(number) for number in range(4)))
    over = True
    await retained
    for tag, body in told.items():
        assert (await registry.services.manifests.get(HERE, Tag(tag))).data == body


async def test_runs_see_to_every_project_and_go_on_where_they_broke_off():
    registry = Registry(projects=True)
    coordinator = InProcessCoordinator()
    tenancy = Tenancy.over(
        registry.store, coordinator, registry.services, Passwords(), memory=1024 * 1024
    )
    ann, told = Identity("user:ann"), []
    tenants = []
    for name in ("one", "two"):
        tenant = (await tenancy.projects.create(Wanted(name), ann))[0].tenant
        tenants.append(tenant)
        for place in (Place(tenant.id), Place(f"{tenant.id}/a"), Place(f"{tenant.id}/b")):
            await registry.services.uploads.upload(place, "me", Digest.of(b"{}"), chunk(b"{}"))
            for number in range(3):
                body = image(config=b"{}", subject=Digest.of(b"%d" % number))
                await registry.services.manifests.put(place, push(body, Tag(f"ci-{number}")), "me")
    one = Retention((RetentionRule("last", ("one/b:*", "one:*"), (), keep_last=1),))
    await tenancy.retention.put(tenants[0], one, ann)
    await registry.store.put(keys.retained(tenants[0].id), f"{tenants[0].id}/a".encode())
    runs = RetentionRuns(
        registry.store,
        coordinator,
        registry.services.retainer,
        lambda tenant, name, done: told.append((tenant.name, name, list(done.tags))),
        per_second=0,
    )
    assert await runs.run() == 0
    assert told == [("one", "one/b", ["ci-0", "ci-1"])], "what comes before was done already"
    assert (await registry.store.get(keys.retained(tenants[0].id))).data == b""
    del told[:]
    assert await runs.run() == 0
    assert [(name, tags) for _, name, tags in told] == [
        ("one", ["ci-0", "ci-1"]), ("one/a", []), ("one/b", []),
    ]  # fmt: skip
    async with coordinator.hold(LEASE):
        with pytest.raises(LeaseHeld):
            await runs.run()
    await tenancy.projects.remove(tenants[0], ann)
    await tenancy.removals.purge_due()
    assert await runs.run() == 0
    assert not await registry.store.list("retained/")
