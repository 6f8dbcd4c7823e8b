"""A platform's projects here: told in any order, any number of times, broken off anywhere.

After the platform's `ProjectController`, `ProjectHandler` (creation, deletion) and
`ProjectTeamRoleHandler` (members). What is told is a history that a platform could have; what is
compared is what there is here in the end.
"""

import random
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from auth.identity import Identity, Kind
from auth.passwords import Passwords
from auth.policy import Action, Allow, Verb
from auth.roles import PLATFORM_ROLES, Role
from registry.service.derivations import Source
from registry.service.platform.terms import PlatformTerms
from registry.service.projects.projects import Wanted
from registry.service.projects.tenancy import Tenancy, TenancyTerms
from registry.service.services import Services
from registry.spec.conditions import ABSENT
from registry.spec.digest import Digest
from registry.spec.names import Place, RepositoryName, Tag
from registry.spec.problems import Invalid, ProjectExists, ProjectGone, ProjectNameInvalid
from storage import keys
from storage.inprocess import InProcessCoordinator
from storage.memory import MemoryStore
from storage.testing import Crash, FaultyStore
from tests.service.content import chunk, image, push
from tests.service.test_calls import Rounds

SERVICE = "user:platform"
BY = Identity(SERVICE)
ROOT = Identity("user:root")
TOLD, ASKED = PlatformTerms(service=SERVICE, told=True), PlatformTerms(service=SERVICE)
NAMES = ["Demo", "demo_x", "Demo1", "ml"]
USERS = ["meb10000", "ann10000", "bob10000"]
ROLES = ["Data owner", "Data scientist", "Observer", "Under removal"]


@pytest.fixture(scope="module")
def passwords():
    passwords = Passwords()
    yield passwords
    passwords.close()


def tenancy(store, passwords, terms=TOLD) -> Tenancy:
    coordinator = InProcessCoordinator()
    services = Services.over(store, coordinator, files=None, memory=1 << 20, projects=True)
    terms = TenancyTerms(platform=terms)
    return Tenancy.over(store, coordinator, services, passwords, memory=1 << 20, terms=terms)


@dataclass
class There:
    """The platform: what it holds now, and all that it has told."""

    live: dict[int, str] = field(default_factory=dict)
    teams: dict[int, dict[str, str]] = field(default_factory=dict)
    told: list[tuple] = field(default_factory=list)
    now: int = 1_790_000_000_000
    last: int = 118

    def step(self, chooser: random.Random) -> None:
        self.now += chooser.randrange(1, 5000)
        free = [name for name in NAMES if name.lower() not in map(str.lower, self.live.values())]
        if free and (not self.live or chooser.random() < 0.3):
            self.last += 1
            self.live[self.last] = name = chooser.choice(free)
            self.teams[self.last] = {"meb10000": "Data owner"}
            self.told.append(("tell", self.last, name, self.now, {"meb10000": "Data owner"}))
            return
        number = chooser.choice(list(self.live))
        match chooser.choice(["put", "put", "put", "remove", "case", "end"]):
            case "put":
                user, role = chooser.choice(USERS), chooser.choice(ROLES)
                self.teams[number][user] = role
                self.told.append(("member", number, user, role, self.now))
            case "remove":
                user = chooser.choice(USERS)
                self.teams[number].pop(user, None)
                self.told.append(("member", number, user, "", self.now))
            case "case":
                self.live[number] = name = self.live[number].swapcase()
                self.told.append(("tell", number, name, self.now, None))
            case "end":
                del self.live[number], self.teams[number]
                self.told.append(("end", number, self.now))

    def members(self, number: int) -> dict[str, Role]:
        roles = {
            user: PLATFORM_ROLES.get(role.lower()) for user, role in self.teams[number].items()
        }
        return {f"user:hopsworks/{user}": role for user, role in roles.items() if role}


async def deliver(registry: Tenancy, event: tuple) -> None:
    platform = registry.platform
    with suppress(ProjectGone):
        match event:
            case ("tell", number, name, at, members):
                await platform.tell(number, name, at, BY, members=members)
            case ("member", number, user, role, at):
                await platform.tell_member(number, user, role, at, BY)
            case ("end", number, at):
                await platform.tell_end(number, at, BY)


async def here(registry: Tenancy) -> dict[str, tuple[int, str, dict[str, Role]]]:
    """Each project: for which one there it is, how it is written, and its members."""
    found = {}
    async for number, fact in registry.platform.told():
        standing = await registry.platform.get(number)
        if standing is None or standing.project is None or fact.gone:
            continue
        tenant = standing.project.tenant
        leaf = await registry.members.page(tenant, "", 100)
        members = {each.principal: each.role for each in leaf.items}
        assert members.pop(SERVICE) is Role.OWNER
        found[tenant.name] = (number, standing.project.display, members)
    names = {each.name for each in (await registry.projects.page("", 100)).items}
    assert names == set(found), "nothing else is there"
    return found


def expected(there: There) -> dict[str, tuple[int, str, dict[str, Role]]]:
    return {
        name.lower(): (number, name, there.members(number)) for number, name in there.live.items()
    }


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32), steps=st.integers(1, 14))
async def test_whatever_the_order_and_however_often(passwords, seed, steps):
    chooser, there = random.Random(seed), There()  # noqa: S311
    for _ in range(steps):
        there.step(chooser)
    registry = tenancy(MemoryStore(), passwords)
    events = there.told + chooser.sample(there.told, len(there.told) // 2)
    chooser.shuffle(events)
    for event in events:
        await deliver(registry, event)
    # Of two projects with one name the younger may have been told before the end of the older.
    assert await here(registry) == expected(there)


@pytest.mark.parametrize("when", ["before", "after"])
async def test_what_broke_off_at_any_call_is_made_good_when_it_is_told_again(passwords, when):
    events = [
        ("tell", 119, "Demo", 1, {"meb10000": "Data owner"}),
        ("member", 119, "ann10000", "Data scientist", 2),
        ("tell", 119, "DEMO", 3, None),
        ("member", 119, "ann10000", "", 4),
        ("tell", 120, "other", 5, {}),
        ("end", 120, 6),
    ]
    for n in count(1):
        inner = MemoryStore()
        store = FaultyStore(inner)
        store.crash(n, when=when)
        with suppress(Crash):
            registry = tenancy(store, passwords)
            for event in events:
                await deliver(registry, event)
        registry = tenancy(inner, passwords)
        for event in events:
            await deliver(registry, event)
        found = await here(registry)
        assert found == {"demo": (119, "DEMO", {"user:hopsworks/meb10000": Role.OWNER})}, n
        if store.total < n:
            assert n > 30
            break


async def test_a_project_that_is_made_again_has_nothing_of_the_old_one(passwords):
    registry = tenancy(MemoryStore(), passwords)
    old = await registry.platform.tell(119, "Demo", 1, BY, members={"ann10000": "Data owner"})
    new = await registry.platform.tell(120, "Demo", 5, BY, members={"bob10000": "Data owner"})
    assert old.project.id != new.project.id
    assert await here(registry) == {"demo": (120, "Demo", {"user:hopsworks/bob10000": Role.OWNER})}
    await registry.platform.tell_end(119, 4, BY)
    assert "demo" in await here(registry), "the end of the old one comes late, and takes nothing"
    with pytest.raises(ProjectGone):
        await registry.platform.tell(119, "Demo", 6, BY)


async def test_who_asks_late_for_the_older_of_two_gets_nothing_of_the_younger(passwords):
    registry = tenancy(MemoryStore(), passwords)
    await registry.platform.tell(120, "Demo", 5, BY)
    with pytest.raises(ProjectGone):
        await registry.platform.tell(119, "Demo", 1, BY, members={"ann10000": "Data owner"})
    assert (await here(registry))["demo"] == (120, "Demo", {})


async def test_a_project_of_somebody_elses_is_not_taken_over(passwords):
    registry = tenancy(MemoryStore(), passwords)
    await registry.projects.create(Wanted("istio", owner="user:root"), ROOT)
    with pytest.raises(ProjectExists):
        await registry.platform.tell(119, "istio", 1, BY)
    assert await registry.platform.get(119) is None, "nothing of it is kept"
    adopted = await registry.platform.tell(119, "istio", 1, BY, adopt=True)
    assert adopted.project.by == "user:root"
    assert await registry.members.get(adopted.project.tenant, SERVICE)


async def test_a_refusal_does_not_forget_the_members_that_were_told_before(passwords):
    registry = tenancy(MemoryStore(), passwords)
    taken = await registry.projects.create(Wanted("Demo", owner="user:root"), ROOT)
    await registry.platform.tell_member(119, "ann10000", "Data owner", 2, BY)
    with pytest.raises(ProjectExists):
        await registry.platform.tell(119, "Demo", 1, BY)
    await registry.projects.remove(taken[0].tenant, ROOT)
    await registry.platform.tell(119, "Demo", 1, BY)
    assert (await here(registry))["demo"][2] == {"user:hopsworks/ann10000": Role.OWNER}


@pytest.mark.parametrize("name", ["base", "Python310", "hopsworks-base", "v2", "a__b", "12"])
async def test_the_platforms_own_names_are_no_projects(passwords, name):
    registry = tenancy(MemoryStore(), passwords)
    with pytest.raises(ProjectNameInvalid):
        await registry.platform.tell(119, name, 1, BY)


async def test_the_end_of_a_project_leaves_those_with_like_names_and_the_bases(passwords):
    registry = tenancy(MemoryStore(), passwords)
    await registry.projects.create(Wanted("hopsworks-base", owner="user:root"), ROOT)
    for number, name in enumerate(["demo", "demo_x", "demo1", "Dem"], 119):
        await registry.platform.tell(number, name, 1, BY)
    await registry.platform.tell_end(119, 2, BY)
    left = {each.name for each in (await registry.projects.page("", 100)).items}
    assert left == {"demo_x", "demo1", "dem", "hopsworks-base"}


async def test_a_name_that_is_another_is_refused(passwords):
    registry = tenancy(MemoryStore(), passwords)
    await registry.platform.tell(119, "Demo", 1, BY)
    with pytest.raises(Invalid):
        await registry.platform.tell(119, "other", 2, BY)
    assert await here(registry) == {"demo": (119, "Demo", {})}


async def test_members_by_groups_where_the_platform_is_asked(passwords):
    """No user is written down: who is a member, the platform says at each login."""
    registry = tenancy(MemoryStore(), passwords, ASKED)
    standing = await registry.platform.tell(119, "Demo", 1, BY, members={"ann10000": "Data owner"})
    leaf = await registry.members.page(standing.project.tenant, "", 100)
    assert {each.principal: each.role for each in leaf.items} == {
        "group:hopsworks/119/data-owner": Role.OWNER,
        "group:hopsworks/119/data-scientist": Role.DEVELOPER,
        "group:hopsworks/119/observer": Role.GUEST,
        "group:hopsworks/119/feature-store-restricted": Role.GUEST,
        SERVICE: Role.OWNER,
    }


async def test_mending_undoes_what_was_done_by_hand_and_leaves_what_is_none_of_its_business(
    passwords,
):
    registry = tenancy(MemoryStore(), passwords)
    standing = await registry.platform.tell(119, "Demo", 1, BY, members={"ann10000": "Data owner"})
    tenant = standing.project.tenant
    for principal in ("user:hopsworks/eve10000", "user:local", "group:hopsworks/119/observer"):
        await registry.members.put(tenant, principal, Role.GUEST, ROOT)
    await registry.members.put(tenant, "user:hopsworks/ann10000", Role.GUEST, ROOT)
    await registry.platform.mend(119, BY)
    leaf = await registry.members.page(tenant, "", 100)
    assert {each.principal: each.role for each in leaf.items} == {
        "user:hopsworks/ann10000": Role.OWNER, "user:local": Role.GUEST, SERVICE: Role.OWNER,
    }  # fmt: skip
    await registry.projects.remove(tenant, ROOT)
    again = await registry.platform.mend(119, BY)
    assert again.project.id != tenant.id, "made anew, with nothing in it"
    assert (await here(registry))["demo"][2] == {"user:hopsworks/ann10000": Role.OWNER}


async def test_who_is_removed_there_can_do_nothing_with_the_next_request(passwords):
    registry = tenancy(MemoryStore(), passwords)
    await registry.platform.tell(119, "Demo", 1, BY, members={"ann10000": "Data scientist"})
    ann = Identity("user:hopsworks/ann10000")

    async def pushes(repository="demo/env"):
        action = Action(Verb.PUSH, RepositoryName(repository))
        return isinstance(await registry.policy.decide(ann, action), Allow)

    assert await pushes()
    assert not await pushes("demo_x/env")
    await registry.platform.tell_member(119, "ann10000", "Under removal", 2, BY)
    assert not await pushes()
    await registry.platform.tell_member(119, "ann10000", "Data owner", 1, BY)
    assert not await pushes(), "that was before"


@pytest.mark.parametrize(
    ("who", "may"),
    [
        (Identity(SERVICE), True),
        (Identity("user:platform2"), False),
        (Identity("user:hopsworks/platform"), False),
        (Identity("robot:platform/x", Kind.ROBOT), False),
    ],
)
async def test_only_the_service_provisions(passwords, who, may):
    registry = tenancy(MemoryStore(), passwords)
    for verb, expected_ in ((Verb.PROVISION, may), (Verb.GOVERN, False)):
        decision = await registry.policy.decide(who, Action(verb))
        assert isinstance(decision, Allow) == expected_


async def test_a_project_with_its_environment_takes_few_rounds(passwords):
    """On S3 a round takes the time of a request: see "What it takes" in reference/benchmarks.md."""
    store, coordinator = Rounds(), InProcessCoordinator()
    services = Services.over(store, coordinator, files=None, memory=1 << 20, projects=True)
    terms = TenancyTerms(platform=ASKED)
    registry = Tenancy.over(store, coordinator, services, passwords, memory=1 << 20, terms=terms)
    base, layers = Place("base/python"), [b"layer %d" % each * 9_000 for each in range(8)]
    for data in (b"{}", *layers):
        await services.uploads.upload(base, "me", Digest.of(data), chunk(data))
    await services.manifests.put(base, push(image(*layers), Tag("4.1")), "me")
    del store.rounds[:]
    standing = await registry.platform.tell(1, "Demo", 1, BY)
    assert [" + ".join(sorted(each)) for each in store.rounds] == [
        "get platform + get projects",
        "create platform",
        "put_all tenants",
        "create projects",
    ]
    del store.rounds[:]
    source = Source(base, Tag("4.1"))
    mine = Place(standing.project.id)
    await services.derivations.derive(source, mine, Tag("1-4.1"), "me", conditions=ABSENT)
    assert [" + ".join(sorted(each)) for each in store.rounds] == [
        "get repos/tags",
        "get repos/manifests",
        "create mounts + get repos/tags + get tenants + stat catalog",
        "get repos/tags + put_all catalog + put_all repos/pushed",
        "put_all repos/manifests",
        "create repos/tags",
    ]


async def test_each_project_more_costs_the_service_the_same(passwords):
    """It owns them all, so its index of projects grows: it is not read for each new one."""
    store = FaultyStore(MemoryStore())
    registry = tenancy(store, passwords)
    costs = []
    for number in range(1, 6):
        await registry.platform.tell(number, f"Demo_{number}", 1, BY)
        del store.log[:]
        push = Action(Verb.PUSH, RepositoryName(f"demo_{number}"))
        assert isinstance(await registry.policy.decide(BY, push), Allow)
        costs.append(sorted(f"{method} {key.partition('/')[0]}" for method, key in store.log))
    assert "list principals" in costs[0]
    assert "list principals" not in costs[1]
    assert costs[1] == costs[2] == costs[3] == costs[4]


async def test_a_name_that_another_takes_meanwhile_is_not_taken_twice(passwords):
    """The look finds nothing; when the project is to get its name, another one has it."""

    class Taken(MemoryStore):
        async def create(self, key, data, **more):
            if key == keys.project("demo") and data.count(b"Demo"):
                await other.projects.create(Wanted("demo", owner="user:root"), ROOT)
            return await super().create(key, data, **more)

    store = Taken()
    registry, other = tenancy(store, passwords), tenancy(store, passwords)
    with pytest.raises(ProjectExists):
        await registry.platform.tell(1, "Demo", 1, BY)
    assert (await registry.projects.named("demo")).by == ROOT.name
