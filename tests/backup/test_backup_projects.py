"""Projects in backups: with members, robots, rules, quotas; made anew as they were, or merged."""

import json

import pytest

from auth.roles import Role, Visibility
from registry.service.backup.backups import ProjectsUnknown
from registry.service.backup.restore import Elsewhere
from registry.service.projects.accounts import AccountTerms
from registry.service.projects.robots import RobotTerms
from registry.service.projects.stamps import principal_stamp
from registry.spec.names import Place
from registry.spec.problems import ProjectNameInvalid
from registry.spec.quota import Limits
from registry.spec.retention import Retention
from storage import keys
from tests.backup.keeper import Registry, backups_in
from tests.projects.conftest import passwords, world  # noqa: F401
from tests.projects.world import ROOT, user
from tests.service.content import image

LAYER = b"layer" * 40_000
CONTENT = ("repos/", "catalog/", "refs/", "blobs/", "data/", "gc/")


@pytest.fixture
async def filled(world):  # noqa: F811
    """Two projects with all that projects have, and an account with a token."""
    demo = await world.project("demo", visibility=Visibility.INTERNAL, alice="developer")
    other = await world.project("other", alice="guest")
    tenancy, services = world.tenancy, world.services
    await tenancy.robots.put(demo, "ci", RobotTerms(Role.DEVELOPER), ROOT)
    await tenancy.members.put(demo, "group:team", Role.MAINTAINER, ROOT)
    await tenancy.shares.put(demo, other.id, None, user("owner-of-all"))
    await tenancy.retention.put(demo, Retention(untagged_days=30), ROOT)
    await tenancy.accounts.create("bob", "a password of ten or more", AccountTerms(), ROOT)
    await services.quotas.limit(demo.id, Limits(bytes=1_000_000), None)
    await world.store.put(keys.claim(demo.id), b'{"number":7}')
    registry = Registry(world.store, projects=True)
    registry.services = services
    for tenant in (demo, other):
        await registry.push(Place(f"{tenant.id}/env"), image(LAYER), LAYER, b"{}", tag="v1")
    return registry, world


async def kept(store):
    """All that is kept beside content, but for accounts of quotas, which are counted anew."""
    prefixes = ("projects/", "tenants/", "accounts/", "principals/", "shared/", "retained/")
    prefixes += ("platform/tenants/",)
    listed = [key for each in prefixes for key in await store.list(each, limit=10_000)]
    return {key: (await store.get(key)).data for key in listed}


async def test_projects_come_back_with_all_that_they_have(filled):
    registry, _ = filled
    backups, other = backups_in(), Registry(projects=True)
    backup = await registry.backup(backups)
    done = await other.restore(backups, backup)
    assert (done.projects, done.failed) == (2, 0)
    # The way here is not the same: which name an id has is told by who restored it.
    names = {key for key in await kept(registry.store) if key.endswith("/name")}
    before, after = await kept(registry.store), await kept(other.store)
    assert {key: data for key, data in after.items() if key not in names} == {
        key: data for key, data in before.items() if key not in names
    }
    assert names <= after.keys()
    assert await other.content() == await registry.content()
    account = await other.services.quotas.find((await ids(other))["demo"])
    assert (account.limits, account.due) == (Limits(bytes=1_000_000), True)


async def ids(registry):
    """The ids of all projects by their names."""
    found = await registry.store.list("projects/")
    records = [json.loads((await registry.store.get(key)).data) for key in found]
    return {
        keys.project_name(key): record["id"] for key, record in zip(found, records, strict=True)
    }


async def test_who_could_pull_can_pull_again(filled, world, monkeypatch):  # noqa: F811
    registry, before = filled
    backups = backups_in()
    backup = await registry.backup(backups)
    alice = user("alice")
    rights = await before.may(alice, "demo/env"), await before.may(alice, "other/env")
    for name in ("demo", "other"):
        project = await before.tenancy.projects.named(name)
        await before.tenancy.projects.remove(project.tenant, ROOT)
        assert await before.may(alice, f"{name}/env") == set()
    await registry.restore(backups, backup)
    assert (await before.may(alice, "demo/env"), await before.may(alice, "other/env")) == rights
    # Under a new id: what was removed is being purged under the old one.
    project = await before.tenancy.projects.named("demo")
    assert await before.store.list(keys.removal("")) != []
    assert not await before.tenancy.directory.removed(project.id)
    await before.tenancy.removals.purge_due()
    content = await registry.content()
    assert list(content[Place(f"{project.id}/env")][0]) == ["v1"]


async def test_a_token_that_was_revoked_stays_revoked(filled):
    registry, world_of = filled
    tokens, bob = world_of.tenancy.access_tokens, "user:bob"
    issued = await tokens.create(bob, "laptop", ROOT)
    backups = backups_in()
    backup = await registry.backup(backups)
    await tokens.remove(bob, issued.token.id, ROOT)
    await registry.restore(backups, backup)
    assert (await tokens.page(bob, "", 10)).items == []
    # Elsewhere it comes back, also where a restore broke off between tokens and accounts.
    other = Registry(projects=True)
    await other.restore(backups, backup)
    await other.store.delete(keys.account(bob))
    await other.restore(backups, backup)
    assert keys.access_token(bob, issued.token.id) in await kept(other.store)
    assert keys.account(bob) in await kept(other.store)


async def test_what_is_restored_of_an_account_is_told_to_who_remembers_it(filled):
    registry, _ = filled
    backups, other, told = backups_in(), Registry(projects=True), []
    change = other.coordinator.change

    def changed(*names):
        told.extend(names)
        return change(*names)

    other.coordinator.change = changed
    await other.restore(backups, await registry.backup(backups))
    assert principal_stamp("user:bob") in told


async def test_a_project_is_restored_beside_itself(filled):
    registry, world_of = filled
    backups = backups_in()
    backup = await registry.backup(backups)
    await registry.restore(backups, backup, "demo", into="demo-again")
    again = await world_of.tenancy.projects.named("demo-again")
    assert (again.display, again.visibility) == ("demo-again", Visibility.INTERNAL)
    assert await world_of.may(user("alice"), "demo-again/env") == await world_of.may(
        user("alice"), "demo/env"
    )
    # No share: that was given by the other project.
    assert await world_of.store.list(keys.shares(again.id)) == []
    assert (await world_of.services.quotas.find(again.id)).limits == Limits(bytes=1_000_000)
    # Once more: into the one that is there by now, and nothing changes.
    before = await kept(registry.store)
    await registry.restore(backups, backup, "demo", into="demo-again")
    assert await kept(registry.store) == before


async def test_a_restore_that_broke_off_takes_the_same_id_again(filled):
    registry, _ = filled
    backups = backups_in()
    await registry.backup(backups)
    before = (await ids(registry))["demo"]
    taken = {await registry.restoring(backups)._tenant(before, "again") for _ in range(2)}
    assert len(taken) == 1
    assert before not in taken


async def test_content_without_a_project_needs_one(filled):
    registry, _ = filled
    plain, backups = Registry(), backups_in()
    await plain.push(Place("demo/env"), image(LAYER), LAYER, b"{}", tag="old")
    await plain.push(Place("nobody/env"), image(LAYER), LAYER, b"{}", tag="old")
    backup = await plain.backup(backups)
    await registry.restore(backups, backup, "demo")
    place = Place((await ids(registry))["demo"] + "/env")
    assert sorted((await registry.content())[place][0]) == ["old", "v1"]
    with pytest.raises(ProjectsUnknown, match="nobody"):
        await registry.restore(backups, backup, "nobody")


async def test_a_project_that_is_removed_while_it_is_read_is_left_out(filled):
    registry, _ = filled
    backups, other = backups_in(), Registry(projects=True)

    def told(progress):
        if progress.repositories == 1:
            registry.store._objects.pop(keys.project("demo"), None)

    backup = await registry.backup(backups, told=told)
    assert (await other.restore(backups, backup)).failed == 0
    assert set(await ids(other)) == {"other"}
    with pytest.raises(ProjectsUnknown):
        await registry.backup(backups, "demo")


async def test_a_project_whose_record_is_missing_does_not_stop_the_others(filled):
    registry, _ = filled
    backups, other = backups_in(), Registry(projects=True)
    backup = await registry.backup(backups)
    restoring = other.restoring(backups)
    kept = restoring._kept

    async def without(part):
        return {
            key: data for key, data in (await kept(part)).items() if key != keys.project("demo")
        }

    restoring._kept = without
    assert (await restoring.restore(backup)).failed == 1
    assert set(await ids(other)) == {"other"}


async def test_a_name_that_is_another_project_by_now_gets_nothing_unless_named(filled):
    registry, world_of = filled
    backups = backups_in()
    backup = await registry.backup(backups)
    demo = await world_of.tenancy.projects.named("demo")
    await world_of.tenancy.projects.remove(demo.tenant, ROOT)
    await world_of.project("demo")
    new = (await ids(registry))["demo"]
    assert (await registry.restore(backups, backup)).failed == 1
    assert Place(f"{new}/env") not in await registry.content()
    assert (await registry.restore(backups, backup, "demo")).failed == 0
    assert Place(f"{new}/env") in await registry.content()


async def test_a_project_that_was_restored_under_another_id_is_the_same(filled):
    registry, world_of = filled
    backups = backups_in()
    backup = await registry.backup(backups)
    demo = await world_of.tenancy.projects.named("demo")
    await world_of.tenancy.projects.remove(demo.tenant, ROOT)
    assert (await registry.restore(backups, backup)).failed == 0
    assert (await registry.restore(backups, backup)).failed == 0


async def test_a_project_that_is_made_meanwhile_is_not_taken_for_the_restored_one(filled):
    registry, _ = filled
    backups, other = backups_in(), Registry(projects=True)
    backup = await registry.backup(backups)
    restoring = other.restoring(backups)
    record = (await registry.store.get(keys.project("demo"))).data
    before = (await ids(registry))["demo"]
    work = restoring._contents.repository

    async def meanwhile(place, repository):
        await other.store.put(keys.project("demo"), record.replace(before.encode(), b"f" * 32))
        await work(place, repository)

    restoring._contents.repository = meanwhile
    assert (await restoring.restore(backup)).failed == 1
    assert (await ids(other))["demo"] == "f" * 32
    assert await other.store.list(keys.removal("")) == [keys.removal(before)]


async def test_who_owns_one_project_gets_no_content_of_another(filled):
    registry, world_of = filled
    backups = backups_in()
    backup = await registry.backup(backups)
    before = await ids(registry)
    await world_of.project("mine")
    now = {**before, **await ids(registry)}
    content = await registry.content()

    async def refused(*names, **more):
        with pytest.raises(Elsewhere):
            await registry.restore(backups, backup, *names, **more)
        assert await registry.content() == content

    # Another's project that stands, into the own one, or into one that is not there.
    await refused("demo", into="mine", owned={"mine": now["mine"]})
    await refused("demo", into="absent", owned={})
    # Removed, and made anew under the same name by another owner, before or after it was asked.
    demo = await world_of.tenancy.projects.named("demo")
    await world_of.tenancy.projects.remove(demo.tenant, ROOT)
    await refused("demo", into="mine", owned={"mine": now["mine"]})
    await world_of.project("demo")
    content = await registry.content()
    anew = (await ids(registry))["demo"]
    for owned in ({}, {"demo": anew}, {"demo": before["demo"]}):
        await refused("demo", owned=owned)
        await refused("demo", into="absent", owned=owned)


async def test_an_owner_restores_and_copies_its_own(filled):
    registry, world_of = filled
    backups = backups_in()
    backup = await registry.backup(backups)
    owned = {"demo": (await ids(registry))["demo"]}
    assert (await registry.restore(backups, backup, "demo", owned=owned)).failed == 0
    for _ in range(2):
        done = await registry.restore(backups, backup, "demo", into="copy", owned=owned)
        assert (done.failed, done.projects) == (0, 1)
    demo = await world_of.tenancy.projects.named("demo")
    await world_of.tenancy.projects.remove(demo.tenant, ROOT)
    assert (await registry.restore(backups, backup, "demo", owned={})).failed == 0
    # The name is the one that was administered, and yet another project by now.
    with pytest.raises(Elsewhere, match="ask again"):
        await registry.restore(backups, backup, "demo", owned=owned)


@pytest.mark.parametrize("name", ["a b", "x!y", "b/", "demo/app", "api", "../x"])
async def test_a_project_is_restored_under_a_project_s_name_only(filled, name):
    registry, _ = filled
    backups = backups_in()
    backup = await registry.backup(backups)
    with pytest.raises(ProjectNameInvalid):
        await registry.restore(backups, backup, "demo", into=name)
