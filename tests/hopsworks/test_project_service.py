"""Drift against the platform's list of projects, after `ProjectService` (`getAll`,
`getProjectInfo`): found, told, mended; and a list that is broken does no harm."""

from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import aiohttp
import pytest

from auth.fetch import HttpFetch
from auth.identity import Identity
from auth.passwords import Passwords
from auth.platform import Platform
from auth.roles import Role
from registry.provisioning import _Listing
from registry.service.platform import lifecycle
from registry.service.platform.reconciliation import Drift, Guards, Reconciler
from registry.service.platform.terms import PlatformTerms
from registry.service.projects.projects import Wanted
from registry.service.projects.tenancy import Tenancy, TenancyTerms
from registry.service.services import Services
from registry.spec.problems import PlatformUnreadable
from storage.coordination import LeaseHeld
from storage.inprocess import InProcessCoordinator
from storage.memory import MemoryStore
from tests.hopsworks.platform import running

SERVICE = "user:platform"
BY, ROOT = Identity(SERVICE), Identity("user:root")


@dataclass
class Both:
    """A platform, and a registry that asks it."""

    there: object
    here: Tenancy
    coordinator: InProcessCoordinator
    reconciler: Reconciler
    now: list[float] = field(default_factory=lambda: [1_800_000_000.0])

    async def run(self, **more):
        return await self.reconciler.run(BY, **more)

    async def found(self, **more):
        return {(each.name, each.drift, each.mended) for each in (await self.run(**more)).findings}

    async def names(self):
        leaf = await self.here.projects.page("", 100)
        return {each.display for each in leaf.items}

    async def members(self, name):
        project = await self.here.projects.named(name)
        leaf = await self.here.members.page(project.tenant, "", 100)
        return {each.principal.removeprefix("user:hopsworks/"): each.role for each in leaf.items}


@asynccontextmanager
async def both(*, told=True, guards=Guards(), scopes=("PROJECT",)):  # noqa: B008
    store, coordinator, passwords = MemoryStore(), InProcessCoordinator(), Passwords()
    services = Services.over(store, coordinator, files=None, memory=1 << 20, projects=True)
    terms = TenancyTerms(platform=PlatformTerms(service=SERVICE, told=told))
    here = Tenancy.over(store, coordinator, services, passwords, memory=1 << 20, terms=terms)
    async with running() as there, aiohttp.ClientSession() as session:
        there.administrators.add("reg10000")
        fetch = HttpFetch(lambda: session, plain_http=True)
        listing = _Listing(Platform(there.url, fetch.ask), there.api_key("reg10000", scopes))
        now = [1_800_000_000.0]
        reconciler = Reconciler(here.platform, coordinator, listing, guards, lambda: now[0])
        yield Both(there, here, coordinator, reconciler, now)
    passwords.close()


async def test_what_is_there_and_not_here_is_made_with_its_members():
    async with both() as pair:
        pair.there.project("Demo", ann10000="Data owner", bob10000="Under removal")
        pair.there.project("ml", eve10000="Observer")
        dry = {("Demo", Drift.MISSING, False), ("ml", Drift.MISSING, False)}
        assert await pair.found(dry=True) == dry
        assert await pair.names() == set(), "a dry run changes nothing"
        await pair.run()
        assert await pair.members("demo") == {"ann10000": Role.OWNER, SERVICE: Role.OWNER}
        assert await pair.members("ml") == {"eve10000": Role.GUEST, SERVICE: Role.OWNER}
        assert await pair.found() == set(), "and then there is nothing left to do"


async def test_roles_that_were_lost_or_changed_by_hand_are_mended():
    async with both() as pair:
        number = pair.there.project("Demo", ann10000="Data owner", bob10000="Observer")
        await pair.run()
        pair.there.teams[number] = {"ann10000": "Data scientist", "new10000": "Observer"}
        tenant = (await pair.here.projects.named("demo")).tenant
        await pair.here.members.put(tenant, "user:hopsworks/evil1000", Role.OWNER, ROOT)
        await pair.here.members.put(tenant, "user:local", Role.GUEST, ROOT)
        report = await pair.run(dry=True)
        (finding,) = report.findings
        assert finding.drift is Drift.MEMBERS
        for user in ("ann10000", "bob10000", "new10000", "evil1000"):
            assert user in finding.detail
        await pair.run()
        assert await pair.members("demo") == {
            "ann10000": Role.DEVELOPER, "new10000": Role.GUEST, "user:local": Role.GUEST,
            SERVICE: Role.OWNER,
        }  # fmt: skip


async def test_a_team_that_the_key_may_not_see_is_left_as_it_is():
    async with both() as pair:
        number = pair.there.project("Demo", ann10000="Data owner")
        await pair.run()
        pair.there.administrators.clear()
        pair.there.teams[number] = {"bob10000": "Data owner"}
        assert await pair.found() == set()
        assert "ann10000" in await pair.members("demo")


@pytest.mark.parametrize(
    "team", [{}, {"": "Data owner"}, {"ann10000": "Data owner", "": "Observer"}]
)
async def test_a_team_that_is_not_named_whole_takes_nobody_away(team):
    async with both() as pair:
        number = pair.there.project("Demo", ann10000="Data owner", bob10000="Observer")
        await pair.run()
        before = await pair.members("demo")
        pair.there.teams[number] = team
        assert await pair.found() == {("Demo", Drift.REFUSED, False)}
        assert await pair.members("demo") == before


async def test_spelling_and_a_project_that_was_removed_here_by_hand():
    async with both() as pair:
        number = pair.there.project("Demo", ann10000="Data owner")
        await pair.run()
        pair.there.projects[number] = "DEMO"
        assert await pair.found() == {("DEMO", Drift.SPELLING, True)}
        assert await pair.names() == {"DEMO"}
        await pair.here.projects.remove((await pair.here.projects.named("demo")).tenant, ROOT)
        assert ("DEMO", Drift.MISSING, True) in await pair.found()
        assert await pair.names() == {"DEMO"}


async def test_a_project_ends_only_when_lists_have_lacked_it_for_long_enough():
    async with both(guards=Guards(settle=3600)) as pair:
        number = pair.there.project("Demo")
        pair.there.project("demo_x")
        await pair.run()
        pair.there.delete(number)
        assert await pair.found(dry=True) == {("Demo", Drift.UNLISTED, False)}
        pair.now[0] += 4000
        assert await pair.found() == {("Demo", Drift.UNLISTED, False)}, "the first that counts"
        pair.now[0] += 3599
        assert await pair.found() == {("Demo", Drift.UNLISTED, False)}
        pair.now[0] += 1
        assert await pair.found() == {("Demo", Drift.ENDED, True)}
        assert await pair.names() == {"demo_x"}


async def test_a_list_that_has_it_again_begins_anew():
    async with both() as pair:
        number = pair.there.project("Demo")
        pair.there.project("other")
        await pair.run()
        name = pair.there.projects.pop(number)
        await pair.run()
        pair.there.projects[number] = name
        pair.now[0] += 4000
        assert await pair.found() == set()
        pair.there.projects.pop(number)
        assert await pair.found() == {("Demo", Drift.UNLISTED, False)}


@pytest.mark.parametrize(
    "body",
    [
        *(b"[]", b"", b"{}", b"null", b"[null]", b'[{"id":119}]', b'[{"id":"x","name":"y"}]'),
        *(b"<html>proxy</html>", b'[{"id":119,"name":"a"},{"id":119,"name":"b"}]', b"[" * 9000),
    ],
)
async def test_a_list_that_is_empty_or_broken_changes_nothing(body):
    async with both(guards=Guards(settle=0)) as pair:
        pair.there.project("Demo")
        await pair.run()
        pair.there.body = body
        for _ in range(3):
            pair.now[0] += 10_000
            with pytest.raises(PlatformUnreadable):
                await pair.run()
        assert await pair.names() == {"Demo"}


@pytest.mark.parametrize("status", [401, 403, 404, 500, 503])
async def test_a_platform_that_refuses_or_fails_changes_nothing(status):
    async with both(guards=Guards(settle=0)) as pair:
        pair.there.project("Demo")
        await pair.run()
        pair.there.status = status
        with pytest.raises(PlatformUnreadable):
            await pair.run()
        assert await pair.names() == {"Demo"}


async def test_a_key_without_the_scope_is_told_so():
    async with both(scopes=()) as pair:
        with pytest.raises(PlatformUnreadable, match="scope PROJECT"):
            await pair.run()


async def test_a_list_that_was_cut_off_ends_none_of_many():
    async with both(guards=Guards(ends=2, settle=10)) as pair:
        numbers = [pair.there.project(f"p{each}") for each in range(5)]
        await pair.run()
        for number in numbers[:3]:
            pair.there.delete(number)
        await pair.run()
        pair.now[0] += 11
        report = await pair.run()
        assert report.held
        assert not any(each.mended for each in report.findings)
        assert len(await pair.names()) == 5
        assert not (await pair.run(ends=3)).held
        assert await pair.names() == {"p3", "p4"}


async def test_a_list_ends_no_project_by_giving_its_name_to_another():
    async with both(guards=Guards(settle=10)) as pair:
        number = pair.there.project("Demo", ann10000="Data owner")
        await pair.run()
        before = await pair.here.projects.named("demo")
        pair.there.delete(number)
        pair.there.project("Demo", bob10000="Data owner")
        refused = {("Demo", Drift.REFUSED, False), ("Demo", Drift.UNLISTED, False)}
        for _ in range(2):
            assert await pair.found() == refused
        assert (await pair.here.projects.named("demo")).id == before.id
        assert "ann10000" in await pair.members("demo")
        pair.now[0] += 10
        assert ("Demo", Drift.ENDED, True) in await pair.found()
        await pair.run()
        assert "bob10000" in await pair.members("demo")


async def test_a_project_whose_name_is_a_bases_by_now_ends_like_another():
    async with both(guards=Guards(settle=0)) as pair:
        number = pair.there.project("Demo")
        pair.there.project("other")
        await pair.run()
        platform = pair.here.platform
        platform.terms = replace(platform.terms, bases=platform.terms.bases | {"demo"})
        pair.there.delete(number)
        await pair.run()
        assert ("Demo", Drift.ENDED, True) in await pair.found()
        assert await pair.names() == {"other"}


async def test_a_project_that_somebody_else_is_at_keeps_nothing_else_from_it(monkeypatch):
    monkeypatch.setattr(lifecycle, "_WAIT", 0.01)
    async with both(guards=Guards(settle=0)) as pair:
        numbers = [pair.there.project(each) for each in ("Busy", "Demo", "other")]
        await pair.run()
        for number in numbers[:2]:
            pair.there.delete(number)
        await pair.run()
        async with pair.coordinator.hold(f"platform/{numbers[0]}"):
            assert await pair.found() == {
                ("Busy", Drift.REFUSED, False),
                ("Demo", Drift.ENDED, True),
            }
        assert await pair.names() == {"Busy", "other"}


async def test_what_nobody_can_decide_is_told_and_keeps_nothing_else_from_it():
    async with both() as pair:
        await pair.here.projects.create(Wanted("taken", owner="user:root"), ROOT)
        for name in ("taken", "base", "fine"):
            pair.there.project(name)
        gone = pair.there.project("ended")
        await pair.here.platform.tell_end(gone, 1, BY)
        assert await pair.found() == {
            ("taken", Drift.REFUSED, False),
            ("base", Drift.REFUSED, False),
            ("ended", Drift.REFUSED, False),
            ("fine", Drift.MISSING, True),
            ("fine", Drift.MEMBERS, True),
        }
        assert await pair.names() == {"taken", "fine"}


async def test_projects_that_are_none_of_the_platforms_are_never_touched():
    async with both(guards=Guards(settle=0)) as pair:
        pair.there.project("Demo")
        for name in ("hopsworks-base", "base", "byhand"):
            await pair.here.projects.create(Wanted(name, owner="user:root"), ROOT)
        for _ in range(3):
            pair.now[0] += 10
            await pair.run()
        assert await pair.names() == {"Demo", "hopsworks-base", "base", "byhand"}


async def test_where_members_are_asked_for_no_team_is():
    async with both(told=False) as pair:
        pair.there.project("Demo", ann10000="Data owner")
        await pair.run()
        assert not any("getProjectInfo" in path for _, path in pair.there.asked)
        assert (await pair.members("demo"))["group:hopsworks/119/data-owner"] is Role.OWNER


async def test_two_at_once_are_one():
    async with both() as pair, pair.coordinator.hold("platform-reconciliation"):
        with pytest.raises(LeaseHeld):
            await pair.run()
