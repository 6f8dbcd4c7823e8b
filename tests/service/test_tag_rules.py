"""Tag rules of a project, where tags change: who may move and delete what, from when on."""

import asyncio
import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auth.access import Tenant
from auth.identity import Identity
from auth.passwords import Passwords
from auth.roles import Role
from registry.service.projects.projects import Wanted
from registry.service.projects.tenancy import Tenancy
from registry.service.services import Services
from registry.spec.conditions import Conditions
from registry.spec.digest import Digest
from registry.spec.errors import Denied, ManifestUnknown
from registry.spec.names import Place, Tag
from registry.spec.problems import Changed, Invalid, TooMany
from registry.spec.tagrules import MAX_RULES, TagRule
from storage import keys
from storage.inprocess import InProcessCoordinator
from storage.memory import MemoryStore
from tests.service.content import image, push

ANN = Identity("user:ann")
BODIES = [image(config=b"%d" % number) for number in range(3)]
ANY = Conditions()


class World:
    """A project ``demo`` in a store, and two processes over it."""

    def __init__(self) -> None:
        self.store, coordinator = MemoryStore(), InProcessCoordinator()
        self.first, self.second = (
            Services.over(
                self.store,
                coordinator,
                files=None,
                memory=1024 * 1024,
                allow_sparse=True,
                projects=True,
            )
            for _ in range(2)
        )
        self.tenancy = Tenancy.over(
            self.store, coordinator, self.first, Passwords(), memory=1024 * 1024
        )
        self.tenant = Tenant("", "")

    async def begin(self) -> "World":
        project, _ = await self.tenancy.projects.create(Wanted("demo"), ANN)
        self.tenant = project.tenant
        return self

    def place(self, name: str = "app") -> Place:
        return Place(f"{self.tenant.id}/{name}" if name else self.tenant.id)

    async def rules(self, *rules: TagRule, **more):
        return await self.tenancy.tag_rules.put(self.tenant, rules, ANN, **more)

    async def put(self, number, tag, role, services=None, place=None):
        services = services or self.second
        body = BODIES[number]
        await services.manifests.put(place or self.place(), push(body, Tag(tag)), "me", role)

    async def delete(self, reference, role):
        await self.second.deletions.delete(self.place(), reference, ANY, "me", role)

    async def target(self, tag):
        try:
            record = await self.second.tags.resolve(self.place(), Tag(tag))
        except ManifestUnknown:
            return None
        return BODIES.index(next(each for each in BODIES if Digest.of(each) == record.target))


@pytest.fixture
async def world():
    return await World().begin()


async def test_rules_count_at_once_in_every_process(world):
    await world.put(0, "v1", Role.DEVELOPER)
    await world.put(1, "v1", Role.DEVELOPER)
    await world.rules(TagRule("releases", ("v*",)))
    with pytest.raises(Denied) as refused:
        await world.put(2, "v1", Role.OWNER)
    assert str(refused.value.message) == (
        "the tag v1 of demo/app is immutable by the rule 'releases' of the project demo: push "
        "under another tag, or ask an owner of demo to change the rule"
    )
    await world.rules()
    await world.put(2, "v1", Role.DEVELOPER)
    assert await world.target("v1") == 2


async def test_what_is_refused_stores_nothing(world):
    await world.put(0, "v1", Role.DEVELOPER)
    await world.rules(TagRule("releases", ("demo/app:v*",)))
    before = await world.store.list("repos/")
    for attempt in (
        world.put(1, "v1", Role.OWNER),
        world.delete(Tag("v1"), Role.OWNER),
        world.delete(Digest.of(BODIES[0]), Role.OWNER),
    ):
        with pytest.raises(Denied):
            await attempt
    assert await world.store.list("repos/") == before
    await world.put(0, "v1", Role.DEVELOPER)
    await world.put(1, "v2", Role.DEVELOPER)
    await world.put(1, "v1", Role.DEVELOPER, place=world.place("other"))
    await world.put(2, "v1", Role.DEVELOPER, place=world.place("other"))


async def test_a_role_may_be_let_to_change_it(world):
    await world.rules(TagRule("live", ("live",), (), "owner"))
    await world.put(0, "live", Role.DEVELOPER)
    with pytest.raises(
        Denied, match=r"changed by owners only by the rule 'live' .*, or ask an owner to do it, or"
    ):
        await world.put(1, "live", Role.MAINTAINER)
    with pytest.raises(Denied):
        await world.delete(Tag("live"), Role.MAINTAINER)
    with pytest.raises(Denied):
        await world.delete(Digest.of(BODIES[0]), None)
    await world.put(1, "live", Role.OWNER)
    assert await world.target("live") == 1
    await world.delete(Digest.of(BODIES[1]), Role.OWNER)
    assert await world.target("live") is None


async def test_the_rules_of_a_project_are_its_own(world):
    await world.rules(TagRule("all", ("*",)))
    other = (await world.tenancy.projects.create(Wanted("other"), ANN))[0].tenant
    place = Place(f"{other.id}/app")
    await world.put(0, "v1", Role.DEVELOPER, place=place)
    await world.put(1, "v1", Role.DEVELOPER, place=place)


async def test_a_slip_is_refused_and_conditions_hold(world):
    with pytest.raises(Invalid, match="of no repository of demo"):
        await world.rules(TagRule("r", ("other/*:v1",)))
    with pytest.raises(TooMany):
        await world.rules(*(TagRule(f"r{n}", ("*",)) for n in range(MAX_RULES + 1)))
    assert (await world.tenancy.tag_rules.get(world.tenant)).version == ""
    first = await world.rules(TagRule("r", ("*",)), version="")
    with pytest.raises(Changed):
        await world.rules(version="")
    assert await world.rules(TagRule("r", ("*",)), version=first.version) == first
    await world.rules(version=first.version)
    with pytest.raises(Changed):
        await world.rules(version=first.version)


async def test_the_rules_go_with_the_project(world):
    await world.rules(TagRule("r", ("*",)))
    await world.tenancy.projects.remove(world.tenant, ANN)
    await world.tenancy.removals.purge_due()
    assert keys.tag_rules(world.tenant.id) not in await world.store.list("tenants/")


async def test_a_rule_that_is_set_while_pushes_run_ends_them(world):
    """Once those are over that were under way when it was set, the tag does not move any more."""
    await world.put(0, "v1", Role.DEVELOPER)
    is_set, over = asyncio.Event(), asyncio.Barrier(4)
    versions = []

    async def version():
        return (await world.first.tags.resolve(world.place(), Tag("v1"))).version

    async def pushing(number, services):
        attempt = number
        while not is_set.is_set():
            with contextlib.suppress(Denied):
                await world.put(attempt % 3, "v1", Role.DEVELOPER, services)
            attempt += 1
        await over.wait()
        versions.append(await version())
        refused = 0
        for attempt in range(9):
            try:
                await world.put(attempt % 3, "v1", Role.OWNER, services)
            except Denied:
                refused += 1
        return refused

    async def setting():
        await asyncio.sleep(0.02)
        await world.rules(TagRule("releases", ("v*",)))
        is_set.set()

    *refused, _ = await asyncio.gather(
        *(pushing(number, (world.first, world.second)[number % 2]) for number in range(4)),
        setting(),
    )
    assert refused == [6] * 4, "what it points at may be pushed once more"
    assert {*versions} == {await version()}
    assert versions[0] > 2, "it had moved before that"


_rule = st.builds(
    TagRule,
    st.sampled_from("rst"),
    st.lists(
        st.sampled_from(["v*", "l*", "*", "demo/app:v?", "demo:*"]), min_size=1, max_size=2
    ).map(tuple),
    st.lists(st.sampled_from(["v1", "live"]), max_size=1).map(tuple),
    st.sampled_from(["maintainer", "owner", "nobody"]),
)
_tag = st.sampled_from(["v1", "v2", "live"])
_role = st.sampled_from(list(Role))
_steps = st.lists(
    st.one_of(
        st.tuples(st.just("rules"), st.lists(_rule, max_size=2, unique_by=lambda rule: rule.name)),
        st.tuples(st.just("put"), _tag, st.integers(0, 2), _role),
        st.tuples(st.just("delete"), _tag, _role),
        st.tuples(st.just("delete manifest"), st.integers(0, 2), _role),
    ),
    max_size=25,
)


def _refuses(rules, tag, role):
    order = [*Role, "nobody"]
    for rule in rules:
        match = {"v*": tag[0] == "v", "l*": tag[0] == "l", "*": True, "demo/app:v?": tag[0] == "v"}
        if not any(match.get(each, False) for each in rule.tags) or tag in rule.exceptions:
            continue
        if order.index(role) < order.index(rule.changed_by):
            return True
    return False


@settings(max_examples=60, deadline=None)
@given(_steps)
def test_tags_are_as_a_model_has_them(steps):
    asyncio.run(_follow(steps))


async def _follow(steps):
    world = await World().begin()
    rules, tags, manifests = [], {}, set()
    for what, *step in steps:
        refused = False
        try:
            match what:
                case "rules":
                    await world.rules(*step[0])
                    rules = step[0]
                case "put":
                    tag, number, role = step
                    refused = tags.get(tag, number) != number and _refuses(rules, tag, role)
                    await world.put(number, tag, role)
                    tags[tag] = number
                    manifests.add(number)
                case "delete":
                    tag, role = step
                    refused = tag in tags and _refuses(rules, tag, role)
                    await world.delete(Tag(tag), role)
                    del tags[tag]
                case "delete manifest":
                    number, role = step
                    leads = [tag for tag in tags if tags[tag] == number]
                    refused = any(_refuses(rules, tag, role) for tag in leads)
                    await world.delete(Digest.of(BODIES[number]), role)
                    manifests.discard(number)
                    for tag in leads:
                        del tags[tag]
        except Denied:
            assert refused, (what, step)
        except ManifestUnknown:
            assert step[0] not in (tags if what == "delete" else manifests)
        else:
            assert not refused, (what, step)
        assert {tag: await world.target(tag) for tag in ("v1", "v2", "live")} == {
            tag: tags.get(tag) for tag in ("v1", "v2", "live")
        }
