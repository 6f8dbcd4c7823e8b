"""A fault at every call that the services of projects make to the store.

What was answered holds. What got no answer can be asked for again. At no moment does anybody have
access that was not given, or keep access that was answered to be gone.
"""

from contextlib import suppress
from itertools import count

import pytest

from auth.identity import Identity, Kind
from auth.policy import Action, Allow, Verb
from auth.roles import Role, Visibility
from registry.service.projects.accounts import AccountTerms
from registry.service.projects.projects import Wanted
from registry.service.projects.robots import RobotTerms
from registry.service.projects.tenancy import Tenancy, TenancyTerms
from registry.service.services import Services
from registry.spec.digest import Digest
from registry.spec.names import Place, RepositoryName
from registry.spec.problems import (
    AccountExists,
    AccountUnknown,
    MemberUnknown,
    ProjectUnknown,
    RobotUnknown,
    ShareUnknown,
)
from storage import keys
from storage.inprocess import InProcessCoordinator
from storage.memory import MemoryStore
from storage.ports import Unavailable
from storage.testing import Crash, FaultyStore
from tests.projects.world import PREFIXES, ROOT, user
from tests.service.content import chunk

GONE = (
    AccountUnknown, MemberUnknown, ProjectUnknown, RobotUnknown, ShareUnknown, AccountExists,
)  # fmt: skip
"""What a request may get that is repeated because its answer was lost."""

ALICE, BOB, TIM = user("alice"), user("bob"), user("tim")
ROBOT = Identity("robot:demo/ci", Kind.ROBOT)


@pytest.fixture
def tenancy(passwords):
    def over(store) -> tuple[Tenancy, Services]:
        coordinator = InProcessCoordinator()
        services = Services.over(store, coordinator, files=None, memory=1024 * 1024)
        terms = TenancyTerms(settle=0)
        return Tenancy.over(
            store, coordinator, services, passwords, memory=1024 * 1024, terms=terms
        ), services

    return over


class Platform:
    """Sees to a project from its beginning to its end, one answered step at a time."""

    def __init__(self) -> None:
        self.done: list[str] = []

    async def step(self, name: str, request) -> None:
        if name not in self.done:
            with suppress(*GONE):
                await request()
            self.done.append(name)

    async def run(self, tenancy: Tenancy, services: Services) -> None:
        if "push" in self.done:
            return
        projects, members, shares = tenancy.projects, tenancy.members, tenancy.shares

        async def tenant(name):
            project = await projects.named(name)
            if project is None:
                raise ProjectUnknown
            return project.tenant

        await self.step("create", lambda: projects.create(Wanted("demo"), ALICE))
        await self.step("other", lambda: projects.create(Wanted("other", owner="user:tim"), ROOT))
        demo, other = await tenant("demo"), await tenant("other")
        self.id = demo.id
        await self.step("bob", lambda: members.put(demo, "user:bob", Role.GUEST, ALICE))
        await self.step("more", lambda: members.put(demo, "user:bob", Role.OWNER, ALICE))
        await self.step("less", lambda: members.put(demo, "user:bob", Role.GUEST, ALICE))
        robots, guest = tenancy.robots, RobotTerms(Role.GUEST)
        await self.step("robot", lambda: robots.put(demo, "ci", guest, BOB))
        await self.step("rotate", lambda: robots.rotate(demo, "ci", BOB))
        await self.step("share", lambda: shares.put(demo, other.id, "demo/a", ALICE))
        await self.step("open", lambda: projects.change(demo, Visibility.PUBLIC, ALICE))
        await self.step("close", lambda: projects.change(demo, Visibility.PRIVATE, ALICE))
        await self.step("unshare", lambda: shares.remove(demo, "other", "demo/a", ALICE))
        await self.step("unrobot", lambda: robots.remove(demo, "ci", ALICE))
        await self.step("unbob", lambda: members.remove(demo, "user:bob", ALICE))
        place, digest = Place(f"{demo.id}/a"), Digest.of(b"x")
        await self.step("push", lambda: services.uploads.upload(place, "me", digest, chunk(b"x")))

    async def end(self, tenancy: Tenancy) -> None:
        async def remove():
            project = await tenancy.projects.named("demo")
            if project is not None:
                await tenancy.projects.remove(project.tenant, ALICE)

        await self.step("remove", remove)
        await self.step("purge", tenancy.removals.purge_due)

    async def check(self, tenancy: Tenancy) -> None:
        """Each right is there between the step that gives it and the step that takes it."""
        expected = {
            # who, verb: the steps that give and take it
            (ALICE, Verb.PUSH): [("create", "remove")],
            (BOB, Verb.PULL): [("bob", "unbob")],
            (BOB, Verb.DELETE): [("more", "less")],
            (TIM, Verb.PULL): [("share", "unshare"), ("open", "close")],
            (ROBOT, Verb.PULL): [("robot", "unrobot"), ("open", "close")],
            (ROBOT, Verb.PUSH): [],
            (user("mallory"), Verb.PULL): [("open", "close")],
            (user("mallory"), Verb.PUSH): [],
        }
        for (who, verb), spans in expected.items():
            decision = await tenancy.policy.decide(who, Action(verb, RepositoryName("demo/a")))
            if any(self._surely(*span) for span in spans):
                assert isinstance(decision, Allow), (who, verb, self.done)
            elif not any(self._perhaps(*span) for span in spans):
                assert not isinstance(decision, Allow), (who, verb, self.done)

    STEPS = (
        "create", "other", "bob", "more", "less", "robot", "rotate", "share", "open", "close",
        "unshare", "unrobot", "unbob", "push", "remove", "purge",
    )  # fmt: skip

    def _surely(self, given: str, taken: str) -> bool:
        under_way = self.STEPS[len(self.done)] if len(self.done) < len(self.STEPS) else ""
        return given in self.done and taken not in self.done and taken != under_way

    def _perhaps(self, given: str, taken: str) -> bool:
        under_way = self.STEPS[len(self.done)] if len(self.done) < len(self.STEPS) else ""
        return (given in self.done or given == under_way) and taken not in self.done


async def listed(store) -> list[str]:
    found = []
    for prefix in PREFIXES:
        found += await store.list(prefix, limit=10_000)
    return found


async def nothing_left(store, tenant: str) -> None:
    # A reverse membership is written before the membership: what an upload that broke off left of
    # it is for the collector, which is to look at the membership behind each.
    left = [key for key in await listed(store) if tenant in key and not key.startswith("refs/")]
    assert left == [keys.tenant_name(tenant)]


@pytest.mark.parametrize("when", ["before", "after", "half"])
async def test_a_failed_call_can_be_made_good_by_trying_again(tenancy, when):
    for n in count(1):
        inner = MemoryStore()
        store = FaultyStore(inner)
        store.fail(n, when=when)
        subject, services = tenancy(store)
        platform = Platform()
        for _ in range(3):
            try:
                await platform.run(subject, services)
                await platform.end(subject)
                break
            except Unavailable:
                await platform.check(tenancy(inner)[0])
                await platform.check(subject)
        assert platform.done == list(Platform.STEPS), f"call {n}: {store.log[n - 1]}"
        await nothing_left(inner, platform.id)
        if store.total < n:
            break
    assert n > 90


@pytest.mark.parametrize("when", ["before", "after", "half"])
async def test_a_crash_at_any_call_leaves_nobody_with_more_than_was_given(tenancy, when):
    for n in count(1):
        inner = MemoryStore()
        store = FaultyStore(inner)
        store.crash(n, when=when)
        platform = Platform()
        subject, services = tenancy(store)
        try:
            await platform.run(subject, services)
            await platform.end(subject)
        except Crash:
            successor, services = tenancy(inner)
            await platform.check(successor)
            await platform.run(successor, services)
            await platform.check(successor)
            await platform.end(successor)
            await successor.removals.purge_due()
        await nothing_left(inner, platform.id)
        if store.total < n:
            break
    assert n > 90


@pytest.mark.parametrize("when", ["before", "after"])
async def test_the_end_of_an_account_can_be_made_good_by_trying_again(tenancy, when):
    for n in count(1):
        inner = MemoryStore()
        good, _ = tenancy(inner)
        project, _ = await good.projects.create(Wanted("demo"), ALICE)
        await good.members.put(project.tenant, "user:bob", Role.OWNER, ROOT)
        await good.accounts.put("bob", AccountTerms(None), ROOT)
        await good.access_tokens.create("user:bob", "x", ROOT)
        store = FaultyStore(inner)
        store.fail(n, when=when)
        subject, _ = tenancy(store)
        for _ in range(3):
            try:
                with suppress(AccountUnknown):
                    await subject.accounts.remove("bob", ROOT)
                break
            except Unavailable:
                continue
        action = Action(Verb.PULL, RepositoryName("demo/a"))
        assert not isinstance(await tenancy(inner)[0].policy.decide(BOB, action), Allow)
        assert [key for key in await listed(inner) if "bob" in key] == [], n
        if store.total < n:
            break
    assert n > 10
