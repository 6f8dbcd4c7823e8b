"""Purging a removed project: everything that was its own, nothing that is another's."""

import asyncio
import time

import msgspec
import pytest

from auth.identity import Identity, Kind
from auth.policy import Action, Allow, Deny, Verb
from auth.roles import Role
from registry.service.collection.candidates import Candidate
from registry.service.derivations import Source
from registry.service.projects.projects import Wanted
from registry.service.projects.removals import Progress, Removals
from registry.service.projects.robots import RobotTerms
from registry.spec.digest import Digest
from registry.spec.errors import UploadUnknown
from registry.spec.names import Place, Tag
from registry.spec.problems import ProjectUnknown
from storage import keys
from storage.ports import Unavailable
from tests.projects.world import PREFIXES, ROOT, user
from tests.service.content import chunk, image, push

LAYER, CONFIG = b"a layer" * 100, b"{}"


async def push_image(world, place, tag="v1", layer=LAYER, subject=None):
    repository = Place(place)
    for data in (layer, CONFIG):
        await world.services.uploads.upload(repository, "me", Digest.of(data), chunk(data))
    manifest = image(layer, subject=subject)
    await world.services.manifests.put(repository, push(manifest, Tag(tag)), "me")


async def furnish(world, tenant) -> None:
    for rest in ("", "/app", "/deep/er/still"):
        await push_image(world, tenant.id + rest)
    await push_image(world, f"{tenant.id}/app", "signature", b"sig", Digest.of(image(LAYER)))
    await world.services.uploads.upload(
        Place(f"{tenant.id}/no-image"), "me", Digest.of(b"alone"), chunk(b"alone")
    )
    await world.tenancy.robots.put(tenant, "ci", RobotTerms(Role.GUEST), ROOT)
    await world.tenancy.members.put(tenant, "group:eng", Role.GUEST, ROOT)


def about(found: list[str], tenant) -> list[str]:
    return [key for key in found if tenant.id in key]


def removing(world, **settings) -> Removals:
    tenancy, services = world.tenancy, world.services
    return Removals(
        world.store,
        world.coordinator,
        tenancy.policy,
        tenancy.projects,
        services.blobs,
        services.uploads,
        tenancy.projects._events,
        services.candidates,
        services.quotas,
        **settings,
    )


async def test_nothing_is_left_but_the_bytes_and_the_name_of_the_id(world):
    demo = await world.project("demo", alice="owner")
    await furnish(world, demo)
    other = await world.project("other", bob="owner")
    await push_image(world, f"{other.id}/app")
    await world.tenancy.shares.put(demo, other.id, None, ROOT)
    before = {key for key in await world.keys() if other.id in key and demo.id not in key}
    await world.tenancy.projects.remove(demo, ROOT)
    assert await world.tenancy.removals.purge_due() == 1
    left = await world.keys()
    assert about(left, demo) == [keys.tenant_name(demo.id)]
    assert [key for key in left if "demo" in key] == []
    # The other project has all that it had; blobs that both held are still its own.
    assert before <= set(left)
    stored = await world.services.manifests.get(Place(f"{other.id}/app"), Tag("v1"))
    assert stored.data == image(LAYER)
    blob = await world.services.blobs.find(Place(f"{other.id}/app"), Digest.of(LAYER))
    assert await world.services.blobs.read(blob) == LAYER
    assert [event.kind for event in world.told][-2:] == ["project.removed", "project.purged"]


async def test_what_was_derived_and_is_in_no_list_of_members_yet_goes_too(world):
    base = await world.project("base", bob="owner")
    await push_image(world, f"{base.id}/python")
    demo = await world.project("demo", alice="owner")
    source = Source(Place(f"{base.id}/python"), Tag("v1"))
    for rest in ("", "/env"):
        target = Place(demo.id + rest)
        await world.services.derivations.derive(source, target, Tag("v1"), "me")
    before = set(await world.keys())
    assert {keys.mounted(Place(demo.id)), keys.mounted(Place(f"{demo.id}/env"))} <= before
    await world.tenancy.projects.remove(demo, ROOT)
    assert await world.tenancy.removals.purge_due() == 1
    left = await world.keys()
    assert about(left, demo) == [keys.tenant_name(demo.id)]
    found = [
        Candidate.decode((await world.store.get(key)).data)
        for key in await world.keys(keys.CANDIDATES)
    ]
    assert {Digest.of(LAYER), Digest.of(CONFIG)} == {each for one in found for each in one.pointers}


async def test_projects_whose_names_begin_alike_stay(world):
    """Hopsworks contract, 6: deleting demo never touches demo_x, demo1, base."""
    tenants = {}
    for name in ("demo", "demo_x", "demo1", "demo-1", "dem", "base"):
        wanted = Wanted(name, owner="user:alice", adopt=True)  # ids that begin alike too
        project, _ = await world.tenancy.projects.create(wanted, ROOT)
        tenants[name] = project.tenant
        await furnish(world, project.tenant)
    before = set(await world.keys())
    await world.tenancy.projects.remove(tenants["demo"], ROOT)
    await world.tenancy.removals.purge_due()
    gone = before - set(await world.keys())
    of_demo = ("demo!", "demo/", "/demo")
    for key in gone:
        assert any(part in key for part in of_demo), key
        assert not any(f"{name}!" in key for name in ("demo_x", "demo1", "demo-1", "dem", "base"))
    for name in ("demo_x", "demo1", "demo-1", "dem", "base"):
        assert (await world.services.manifests.get(Place(f"{name}/app"), Tag("v1"))).data
        assert "pull" in await world.may(user("alice"), f"{name}/app")


async def test_a_project_made_anew_keeps_what_it_has_while_the_old_one_is_purged(world):
    old = await world.project("demo", alice="owner", bob="guest")
    await furnish(world, old)
    target = await world.project("target", tim="guest")
    await world.tenancy.shares.put(old, target.id, None, ROOT)
    await world.tenancy.projects.remove(old, ROOT)
    new = await world.project("demo", alice="guest")
    await world.tenancy.members.put(new, "group:eng", Role.DEVELOPER, ROOT)
    await world.tenancy.shares.put(new, target.id, "demo/app", ROOT)
    await push_image(world, f"{new.id}/app")
    await world.tenancy.removals.purge_due()
    assert about(await world.keys(), old) == [keys.tenant_name(old.id)]
    assert await world.may(user("alice"), "demo/app") == {"pull", "list"}
    assert "push" in await world.may(user("x", "eng"), "demo/app")
    assert await world.may(user("tim"), "demo/app") == {"pull", "list"}
    assert await world.may(user("bob"), "demo/app") == set()
    assert (await world.services.manifests.get(Place(f"{new.id}/app"), Tag("v1"))).data
    assert await world.keys(keys.parts("user:bob")) == []


async def test_open_sessions_go_too(world):
    demo, other = await world.project("demo"), await world.project("other")
    uploads = world.services.uploads
    sessions = {}
    for tenant in (demo, other):
        place = Place(f"{tenant.id}/app")
        session = (await uploads.start(place, "me")).session
        await uploads.append(place, session, "me", chunk(LAYER))
        sessions[tenant.name] = (place, session)
    await world.tenancy.projects.remove(demo, ROOT)
    await world.tenancy.removals.purge_due()
    place, session = sessions["other"]
    assert (await uploads.status(place, session, "me")).offset == len(LAYER)
    assert len(await world.keys("uploads/")) == 1
    # The id still proves itself, but its bytes are gone: it begins at nothing, in a place that no
    # decision leads to.
    place, session = sessions["demo"]
    assert (await uploads.status(place, session, "me")).offset == 0
    # In a project made anew it is unknown.
    new = await world.project("demo")
    with pytest.raises(UploadUnknown):
        await uploads.status(Place(f"{new.id}/app"), session, "me")


async def test_progress_is_visible(world):
    demo = await world.project("demo")
    await furnish(world, demo)
    removals = removing(world, settle=100)
    for tenant in (demo.id, "0" * 32):
        with pytest.raises(ProjectUnknown):
            await removals.get(tenant)
    await world.tenancy.projects.remove(demo, user("alice"))
    seen = await removals.get(demo.id)
    assert (seen.tenant, seen.by, seen.progress) == (demo, "user:alice", Progress.PURGING)
    assert (await removals.page("", 10)).items == [seen]
    await removals.purge_due()
    seen = await removals.get(demo.id)
    assert seen.progress is Progress.SETTLING
    assert seen.keys > 20
    # What was under way is looked for once more, and not before it is due.
    await push_image(world, f"{demo.id}/late")
    assert await removals.purge_due() == 0
    standing = await removals._records.find(keys.removal(demo.id))
    assert standing.record.due == pytest.approx(time.time() + 100, abs=5)
    due = msgspec.structs.replace(standing.record, due=1.0)
    await world.store.put(keys.removal(demo.id), due.encode())
    assert await removals.purge_due() == 1
    assert about(await world.keys(), demo) == [keys.tenant_name(demo.id)]
    done = await removals.get(demo.id)
    assert (done.tenant, done.by, done.progress) == (demo, "user:alice", Progress.PURGED)
    assert done.keys > seen.keys
    assert (await removals.page("", 10)).items == []
    assert await removals.purge_due() == 0


async def test_one_process_purges_a_project_at_a_time(world):
    demo = await world.project("demo")
    await furnish(world, demo)
    await world.tenancy.projects.remove(demo, ROOT)
    async with world.coordinator.hold(keys.removal(demo.id)):
        assert await world.tenancy.removals.purge_due() == 0
    passes = await asyncio.gather(*(world.tenancy.removals.purge_due() for _ in range(4)))
    assert sum(passes) == 1


async def test_a_project_whose_name_stands_is_not_purged(world):
    """A tombstone alone, as of a crash in the middle of a removal: that is finished first."""
    demo = await world.project("demo", alice="owner")
    await furnish(world, demo)
    tombstone = b'{"name":"demo","by":"user:x","at":1.0}'
    await world.store.put(keys.removal(demo.id), tombstone)
    purge = Action(Verb.PURGE, project=demo.id)
    decide = world.tenancy.policy.decide
    system = Identity("system:purger", Kind.SYSTEM)
    assert isinstance(await decide(system, purge), Deny)
    assert await world.may(user("alice"), "demo/app")
    await world.tenancy.removals.purge_due()
    assert await world.may(user("alice"), "demo/app") == set()
    assert about(await world.keys(), demo) == [keys.tenant_name(demo.id)]


async def test_a_tombstone_of_another_project_takes_nothing(world):
    """One whose name belongs to a later project purges the old id only."""
    demo = await world.project("demo", alice="owner")
    await furnish(world, demo)
    await world.store.put(keys.removal("f" * 32), b'{"name":"demo","by":"user:x","at":1.0}')
    before = set(await world.keys()) - {keys.removal("f" * 32)}
    await world.tenancy.removals.purge_due()
    assert before == set(await world.keys())


async def test_only_the_registry_itself_purges(world):
    demo = await world.project("demo", alice="owner")
    await world.tenancy.projects.remove(demo, ROOT)
    action = Action(Verb.PURGE, project=demo.id)
    for kind in Kind:
        decision = await world.tenancy.policy.decide(Identity("user:alice", kind), action)
        assert isinstance(decision, Allow) == (kind is Kind.SYSTEM)


async def test_the_purge_goes_on_after_a_failure(world, caplog):
    demo = await world.project("demo")
    await furnish(world, demo)
    await world.tenancy.projects.remove(demo, ROOT)
    inner, broken = world.store.delete, [True]

    async def delete(key, **options):
        if broken[0] and "/manifests/" in key:
            raise Unavailable(key, "for a while")
        await inner(key, **options)

    world.store.delete = delete
    task = asyncio.ensure_future(world.tenancy.removals.run(interval=0.01))
    while "for a while" not in caplog.text:
        await asyncio.sleep(0.01)
    broken[0] = False
    async with asyncio.timeout(5):
        while await world.keys("removals/"):
            await asyncio.sleep(0.01)
    task.cancel()
    assert about(await world.keys(), demo) == [keys.tenant_name(demo.id)]


def test_every_prefix_of_the_layout_is_looked_at():
    """The tests above miss nothing: what `keys` names is listed by them."""
    named = {
        keys.PROJECTS, keys.ACCOUNTS, keys.PRINCIPALS, keys.SHARED, keys.REMOVALS, keys.CATALOG,
        keys.QUOTAS, keys.UPLOADS, keys.MOUNTS, "tenants/", "repos/", "refs/", "blobs/",
        "data/",
    }  # fmt: skip
    assert named == set(PREFIXES)
