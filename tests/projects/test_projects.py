"""Projects: names, creation, visibility, removal, and that a name made anew is another project."""

import asyncio
from dataclasses import replace

import pytest

from auth.identity import ANONYMOUS
from auth.policy import Action, Allow, Verb
from auth.roles import Role, Visibility
from auth.scopes import Scopes
from registry.service.projects.names import RESERVED, project_name
from registry.service.projects.projects import Wanted
from registry.service.projects.records import TenantRecord
from registry.spec.names import Place
from registry.spec.pagination import Page
from registry.spec.problems import Changed, ProjectExists, ProjectNameInvalid, ProjectUnknown
from storage import keys
from tests.projects.world import ROOT, bearer, user


@pytest.mark.parametrize("text", ["demo", "Demo", "My_Project", "a", "a.b-c__d", "x" * 100, "0-1"])
def test_names(text):
    assert project_name(text) == text.lower()


@pytest.mark.parametrize(
    "text",
    [
        *[
            "",
            "a/b",
            "/",
            "-a",
            "a_",
            "a..b",
            "a b",
            "ä",
            "a\n",
            "\u0130",
            "x" * 101,
            "..",
            "a!",
            "\u212a",
        ],
        *["0123456789abcdef" * 2, "0123456789ABCDEF" * 2],
        *sorted(RESERVED),
        "V2",
    ],
)
def test_texts_that_are_no_names(text):
    with pytest.raises(ProjectNameInvalid):
        project_name(text)


async def test_a_project_and_its_owner(world, alice):
    project, made = await world.tenancy.projects.create(Wanted("My_Project"), alice)
    assert made
    assert (project.name, project.display) == ("my_project", "My_Project")
    assert (project.by, project.visibility) == ("user:alice", Visibility.PRIVATE)
    assert await world.tenancy.projects.get(project.tenant) == project
    assert await world.may(alice, "my_project/app") == {"pull", "push", "delete", "list"}
    assert await world.may(alice, "my_project") == {"pull", "push", "delete", "list"}
    assert await world.place(alice, "my_project/app/x") == f"{project.id}/app/x"
    assert [event.kind for event in world.told] == ["project.created"]


async def test_names_of_which_one_begins_with_the_other_are_two_projects(world, alice):
    await world.tenancy.projects.create(Wanted("demo"), alice)
    for other in ("demo1", "demo_x", "dem", "demo-1/app", "demo.x"):
        assert await world.may(alice, other) == set()


async def test_creating_is_idempotent_for_whoever_created_it(world, alice):
    first, made = await world.tenancy.projects.create(Wanted("Demo"), alice)
    again, made_again = await world.tenancy.projects.create(Wanted("Demo"), alice)
    assert (made, made_again, again) == (True, False, first)
    with pytest.raises(ProjectExists):
        await world.tenancy.projects.create(Wanted("demo"), user("bob"))
    with pytest.raises(ProjectExists):
        await world.tenancy.projects.create(Wanted("Demo", Visibility.PUBLIC), alice)
    assert await world.may(user("bob"), "demo/app") == set()


async def test_of_many_that_create_one_name_at_once_one_succeeds(world):
    async def create(number):
        try:
            project, _ = await world.tenancy.projects.create(Wanted("demo"), user(f"u{number}"))
        except ProjectExists:
            return None
        return number, project.id

    results = await asyncio.gather(*map(create, range(10)))
    (winner,) = [each for each in results if each]
    for number in range(10):
        assert bool(await world.may(user(f"u{number}"), "demo/a")) == (number == winner[0])


async def test_a_project_that_the_platform_creates_belongs_to_whom_it_says(world):
    wanted = Wanted("demo", owner="group:eng")
    project, _ = await world.tenancy.projects.create(wanted, ROOT)
    assert await world.may(ROOT, "demo/app") == set()
    assert "delete" in await world.may(user("x", "eng"), "demo/app")
    (member,) = (await world.tenancy.members.page(project.tenant, "", 10)).items
    assert (member.principal, member.role) == ("group:eng", Role.OWNER)


async def test_visibility(world):
    tenant = await world.project("base", visibility=Visibility.PRIVATE)
    stranger = user("stranger")
    read = {"pull", "list"}
    for visibility, for_stranger, for_anonymous in [
        (Visibility.INTERNAL, read, set()),
        (Visibility.PUBLIC, read, read),
        (Visibility.PRIVATE, set(), set()),
        (Visibility.PUBLIC, read, read),
        (Visibility.INTERNAL, read, set()),
    ]:
        project = await world.tenancy.projects.change(tenant, visibility, ROOT)
        assert project.visibility is visibility
        assert await world.may(stranger, "base/python") == for_stranger
        assert await world.may(ANONYMOUS, "base/python") == for_anonymous


async def test_a_change_by_version(world):
    tenant = await world.project("base")
    seen = await world.tenancy.projects.get(tenant)
    await world.tenancy.projects.change(tenant, Visibility.PUBLIC, ROOT, seen.version)
    with pytest.raises(Changed):
        await world.tenancy.projects.change(tenant, Visibility.PRIVATE, ROOT, seen.version)
    with pytest.raises(Changed):
        await world.tenancy.projects.remove(tenant, ROOT, seen.version)


async def test_a_removed_project_is_gone_at_once(world, alice):
    tenant = await world.project("demo", visibility=Visibility.PUBLIC, alice="developer")
    assert await world.may(alice, "demo/app")
    await world.tenancy.projects.remove(tenant, ROOT)
    assert await world.may(alice, "demo/app") == set()
    assert await world.may(user("stranger"), "demo/app") == set()
    with pytest.raises(ProjectUnknown):
        await world.tenancy.projects.get(tenant)
    with pytest.raises(ProjectUnknown):
        await world.tenancy.projects.remove(tenant, ROOT)
    with pytest.raises(ProjectUnknown):
        await world.tenancy.projects.change(tenant, Visibility.PRIVATE, ROOT)


async def test_a_project_made_anew_has_nothing_of_the_old_one(world, alice):
    """harbor#22900: neither members nor places nor tokens of the old one count for the new one."""
    old = await world.project("demo", alice="owner")
    token = bearer(alice, Scopes.parse("repository:demo/app:pull,push"), demo=old.id)
    assert await world.may(token, "demo/app") == {"pull", "push", "list"}
    await world.tenancy.projects.remove(old, ROOT)
    new = await world.project("demo", bob="owner")
    assert new.id != old.id
    assert await world.may(alice, "demo/app") == set()
    assert await world.may(token, "demo/app") == set()
    assert await world.place(user("bob"), "demo/app") == f"{new.id}/app"
    # Alice comes back: her old token still counts for nothing, a new one does.
    await world.tenancy.members.put(new, "user:alice", Role.DEVELOPER, ROOT)
    assert await world.may(alice, "demo/app") == {"pull", "push", "list"}
    assert await world.may(token, "demo/app") == set()
    renewed = bearer(alice, token.ceiling, demo=new.id)
    assert await world.may(renewed, "demo/app") == {"pull", "push", "list"}


async def test_what_was_decided_for_a_removed_project_changes_nothing_of_the_next(world):
    old = await world.project("demo")
    await world.tenancy.projects.remove(old, ROOT)
    new = await world.project("demo")
    with pytest.raises(ProjectUnknown):
        await world.tenancy.members.put(old, "user:mallory", Role.OWNER, ROOT)
    with pytest.raises(ProjectUnknown):
        await world.tenancy.projects.remove(old, ROOT)
    assert await world.may(user("mallory"), "demo/app") == set()
    assert (await world.tenancy.projects.get(new)).id == new.id


async def test_adopting_what_was_pushed_before_there_were_projects(world, alice):
    wanted = Wanted("demo", owner="user:alice", adopt=True)
    project, _ = await world.tenancy.projects.create(wanted, ROOT)
    assert await world.place(alice, "demo/app") == "demo/app"
    await world.tenancy.projects.remove(project.tenant, ROOT)
    await world.tenancy.removals.purge_due()
    # Once only: what comes later under that name gets an id of its own.
    with pytest.raises(ProjectExists):
        await world.tenancy.projects.create(wanted, ROOT)
    other, _ = await world.tenancy.projects.create(Wanted("demo", owner="user:alice"), ROOT)
    assert await world.place(alice, "demo/app") == f"{other.id}/app"


async def test_an_adoption_that_broke_off_can_be_repeated(world, alice):
    wanted = Wanted("demo", owner="user:alice", adopt=True)
    begun = TenantRecord("demo", ROOT.name, 1.0)
    await world.store.create(keys.tenant_name("demo"), begun.encode())
    project, made = await world.tenancy.projects.create(wanted, ROOT)
    assert made
    assert project.id == "demo"


async def test_pages_of_projects(world, alice):
    for name in ("c", "a", "b", "d"):
        await world.project(name, **({} if name == "b" else {"alice": "guest"}))
    every = await world.tenancy.projects.page("", 3)
    assert ([each.name for each in every.items], every.more) == (["a", "b", "c"], True)
    rest = await world.tenancy.projects.page("c", 3)
    assert ([each.name for each in rest.items], rest.more) == (["d"], False)
    own = await world.tenancy.projects.of(alice, "", 2)
    assert ([(each.name, each.role) for each in own.items], own.more) == (
        [("a", Role.GUEST), ("c", Role.GUEST)],
        True,
    )
    rest = await world.tenancy.projects.of(alice, "c", 2)
    assert ([each.name for each in rest.items], rest.more) == (["d"], False)


async def test_who_may_create(world, alice):
    decide = world.tenancy.policy.decide
    assert not isinstance(await decide(alice, Action(Verb.CREATE)), Allow)


async def test_the_catalog_is_what_the_caller_may_pull(world, alice):
    tenants = {}
    for name, roles in [("a", {"alice": "guest"}), ("a-b", {}), ("c", {"alice": "owner"})]:
        tenants[name] = await world.project(name, **roles)
    public = await world.project("pub", visibility=Visibility.PUBLIC)
    for name, tenant in [*tenants.items(), ("pub", public)]:
        for rest in ("", "/x", "/y/z") if name != "c" else ("/x",):
            await world.services.catalog.enter(Place(tenant.id + rest))

    async def listed(identity, n=None, last=None):
        visible = world.tenancy.policy.visible(identity, last or "")
        page = await world.services.catalog.page(Page(n, last), visible)
        return list(page.repositories), page.more

    expected = ["a", "a/x", "a/y/z", "c/x", "pub", "pub/x", "pub/y/z"]
    assert await listed(alice) == (expected, False)
    assert await listed(user("nobody")) == (expected[4:], False)
    for size in (1, 2, 3):
        found: list[str] = []
        more = True
        while more:
            page, more = await listed(alice, size, found[-1] if found else None)
            assert len(page) <= size
            found += page
        assert found == expected
    # Names that are in no list of hers, and texts that are no names, are fine to begin after.
    assert await listed(alice, last="a-b/x") == (expected[3:], False)
    assert await listed(alice, last="b") == (expected[3:], False)
    assert await listed(alice, last="a/x!") == (expected[2:], False)
    assert await listed(alice, last="zzz") == ([], False)


async def test_a_ceiling_narrows_the_catalog(world, alice):
    tenant = await world.project("demo", alice="owner")
    for rest in ("/app", "/other"):
        await world.services.catalog.enter(Place(tenant.id + rest))

    async def listed(text):
        narrow = replace(alice, ceiling=Scopes.parse_ceiling(text))
        page = await world.services.catalog.page(Page(), world.tenancy.policy.visible(narrow, ""))
        return list(page.repositories)

    assert await listed("repository:demo/app:pull") == ["demo/app"]
    assert await listed("repository:demo/*:push") == []
    assert await listed("registry:catalog:*") == ["demo/app", "demo/other"]
