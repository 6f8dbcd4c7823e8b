"""Backups: what is in one comes back as it was; what several have in common is there once."""

import asyncio
import json

import pytest

from registry.service.backup import layout
from registry.service.backup.backups import BackupUnknown, ProjectsUnknown
from registry.spec.conditions import Conditions
from registry.spec.digest import Digest
from registry.spec.mediatype import OCI_INDEX, OCI_MANIFEST
from registry.spec.names import Place, Tag
from registry.spec.pagination import Page
from storage import keys
from storage.coordination import LeaseHeld
from storage.memory import MemoryStore
from tests.backup.keeper import ROOT, A, B, Registry, backups_in, pool_of
from tests.service.content import encode, image

LARGE, SMALL, CONFIG = b"layer" * 40_000, b"a small layer", b"{}"
FIRST, SECOND = image(LARGE), image(SMALL)


def index(*children):
    manifests = [
        {"mediaType": OCI_MANIFEST, "digest": Digest.of(child), "size": len(child)}
        for child in children
    ]
    return encode({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests})


async def filled(registry=None):
    """A registry with tags that moved, an index, a referrer, and a manifest without a name."""
    registry = registry or Registry()
    await registry.push(A, FIRST, LARGE, CONFIG, tag="v1")
    await registry.push(A, SECOND, SMALL, CONFIG, tag="v1")
    await registry.push(A, FIRST, tag="v0")
    await registry.push(B, FIRST, LARGE, CONFIG)
    await registry.push(B, index(FIRST), tag="all", media_type=OCI_INDEX)
    await registry.push(ROOT, image(SMALL, subject=Digest.of(FIRST)), SMALL, CONFIG, tag="sbom")
    return registry


async def test_what_is_backed_up_comes_back_as_it_was():
    registry, backups = await filled(), backups_in()
    backup = await registry.backup(backups)
    summary = backup.summary
    assert (summary.repositories, summary.tags, summary.missing) == (3, 4, 0)
    assert summary.blobs == 3
    assert summary.bytes == len(LARGE) + len(SMALL) + len(CONFIG)
    other = Registry()
    done = await other.restore(backups, backup)
    assert await other.content() == await registry.content()
    assert (done.tags, done.manifests, done.blobs, done.failed) == (4, 5, 3, 0)
    page = Page(None, None)
    before = await registry.services.manifests.referrers_of(ROOT, Digest.of(FIRST), [], page)
    after = await other.services.manifests.referrers_of(ROOT, Digest.of(FIRST), [], page)
    assert before == after
    assert len(after[0]) == 1


async def test_a_tag_comes_back_with_its_history_and_with_who_pushed_it_when():
    registry, backups, other = await filled(), backups_in(), Registry()
    await other.restore(backups, await registry.backup(backups))
    states = await other.states(A, "v1")
    assert states == await registry.states(A, "v1")
    assert [state.digest for state in states] == [Digest.of(SECOND), Digest.of(FIRST)]
    await other.services.rollbacks.roll_back(A, Tag("v1"), "me", None)
    assert (await other.states(A, "v1"))[0].digest == Digest.of(FIRST)


async def test_a_tool_that_knows_image_layouts_finds_its_way():
    registry, backups = await filled(), backups_in()
    backup = await registry.backup(backups)
    store = backups.pool._store

    async def document(digest):
        return json.loads((await store.get(layout.blob(Digest(digest)))).data)

    assert json.loads((await store.get("oci-layout")).data) == {"imageLayoutVersion": "1.0.0"}
    root = json.loads((await store.get("index.json")).data)["manifests"][0]
    assert root["annotations"]["org.opencontainers.image.ref.name"] == backup.id
    (project,) = (await document(root["digest"]))["manifests"]
    assert project["annotations"]["io.moorage.project"] == "demo"
    repositories = {
        part["annotations"]["io.moorage.repository"]: await document(part["digest"])
        for part in (await document(project["digest"]))["manifests"]
    }
    assert sorted(repositories) == ["demo", "demo/env", "demo/other"]
    tagged = {
        each["annotations"]["org.opencontainers.image.ref.name"]: each["digest"]
        for each in repositories["demo/env"]["manifests"]
    }
    assert tagged == {"v0": Digest.of(FIRST), "v1": Digest.of(SECOND)}
    assert {document["mediaType"] for document in repositories.values()} == {OCI_INDEX}


async def test_the_next_backup_copies_what_is_new_only():
    registry, backups = await filled(), backups_in()
    first = await registry.backup(backups)
    again = await registry.backup(backups)
    assert (again.summary.blobs, again.summary.bytes) == (0, 0)
    assert again.root.digest == first.root.digest
    await registry.push(A, image(b"new"), b"new", CONFIG, tag="v2")
    before = await pool_of(backups)
    third = await registry.backup(backups)
    assert (third.summary.blobs, third.summary.bytes) == (1, 3)
    # layer, manifest, and an index each for the repository, its project and the backup
    assert len(await pool_of(backups) - before) == 5
    assert [each.id for each in await backups.all()] == [first.id, again.id, third.id]


async def test_removing_a_backup_removes_what_only_it_needs():
    registry, backups = await filled(), backups_in()
    first = await registry.backup(backups)
    alone = await pool_of(backups)
    await registry.push(A, image(b"new"), b"new", CONFIG, tag="v2")
    second = await registry.backup(backups)
    both = await pool_of(backups)
    assert (await backups.remove(first.id)).blobs == len(both - await pool_of(backups)) == 3
    other = Registry()
    await other.restore(backups, second)
    assert await other.content() == await registry.content()
    await registry.services.deletions.delete(A, Tag("v2"), Conditions())
    await registry.services.deletions.delete(A, Digest.of(image(b"new")), Conditions())
    third = await registry.backup(backups)
    await backups.remove(second.id)
    assert await pool_of(backups) == alone
    await backups.remove(third.id)
    assert await pool_of(backups) == set()
    with pytest.raises(BackupUnknown):
        await backups.remove(third.id)


async def test_what_an_unfinished_backup_left_is_swept():
    registry, backups = await filled(), backups_in()
    backup = await registry.backup(backups)
    before = await pool_of(backups)
    await backups.pool.keep_bytes(Digest.of(b"left"), b"left")
    assert (await backups.sweep()).blobs == 1
    assert await pool_of(backups) == before
    assert await backups.verify([backup], pytest.fail) == len(before)


async def test_nothing_is_removed_where_it_is_not_known_what_is_needed():
    registry, backups = await filled(), backups_in()
    backup = await registry.backup(backups)
    await registry.push(A, image(b"new"), b"new", CONFIG, tag="v2")
    second = await registry.backup(backups)
    await backups.pool.remove(second.root.digest)
    before = await pool_of(backups)
    with pytest.raises(Exception, match="nothing is removed"):
        await backups.remove(backup.id)
    assert await pool_of(backups) == before


async def test_one_image_that_lacks_different_blobs_in_two_repositories_keeps_both():
    registry, backups = Registry(), backups_in()
    await registry.push(A, FIRST, LARGE, tag="v1")
    await registry.push(B, FIRST, CONFIG, tag="v1")
    told = []
    backup = await registry.backup(backups, missing=lambda digest, reason: told.append(digest))
    assert sorted(told) == sorted([Digest.of(LARGE), Digest.of(CONFIG)])
    assert backup.summary.missing == 2
    assert (await backups.sweep()).blobs == 0
    other = Registry()
    assert (await other.restore(backups, backup)).failed == 0
    # Neither repository gets what only the other held.
    assert await other.content() == await registry.content()


async def test_one_project_is_backed_up_and_another_is_not():
    registry, backups, other = await filled(), backups_in(), Registry()
    await registry.push(Place("demo_x/env"), SECOND, SMALL, CONFIG, tag="v1")
    backup = await registry.backup(backups, "demo_x")
    assert backup.summary.projects == ("demo_x",)
    await other.restore(backups, backup)
    assert list(await other.content()) == ["demo_x/env"]
    with pytest.raises(ProjectsUnknown, match="nobody"):
        await registry.backup(backups, "demo", "nobody")
    with pytest.raises(ProjectsUnknown, match="demo"):
        await other.restore(backups, backup, "demo")
    assert len(await backups.all()) == 1


async def test_one_of_several_projects_is_restored_into_another():
    registry, backups, other = await filled(), backups_in(), Registry()
    await registry.push(Place("demo_x/env"), SECOND, SMALL, CONFIG, tag="v1")
    backup = await registry.backup(backups)
    await other.restore(backups, backup, "demo", into="again")
    content = await registry.content()
    assert await other.content() == {
        Place("again"): content[ROOT],
        Place("again/env"): content[A],
        Place("again/other"): content[B],
    }


async def test_a_restore_beside_points_tags_back_and_leaves_what_came_since():
    registry, backups = await filled(), backups_in()
    backup = await registry.backup(backups)
    before = await registry.content()
    await registry.push(A, image(b"new"), b"new", CONFIG, tag="v1")
    await registry.push(A, image(b"new"), tag="v2")
    await registry.services.deletions.delete(A, Digest.of(FIRST), Conditions())
    done = await registry.restore(backups, backup)
    assert done.failed == 0
    tags, manifests, _ = (await registry.content())[A]
    assert tags == {**before[A][0], "v2": Digest.of(image(b"new"))}
    assert manifests == before[A][1] | {Digest.of(image(b"new"))}
    moved, before, *_ = await registry.states(A, "v1")
    assert (moved.by, before.digest) == ("system:restore", Digest.of(image(b"new")))
    # Nothing was copied: the store had all the bytes still.
    assert done.blobs == 0


async def test_the_backup_of_a_moment_is_found():
    registry, backups = await filled(), backups_in()
    with pytest.raises(BackupUnknown):
        await backups.find()
    first, second = await registry.backup(backups), await registry.backup(backups)
    assert (await backups.find()).id == second.id
    assert (await backups.find(first.id)).id == first.id
    assert (await backups.find(at=first.summary.read)).id == first.id
    assert (await backups.find(at=second.summary.read + 1)).id == second.id
    with pytest.raises(BackupUnknown):
        await backups.find(at=first.summary.read - 1)


async def test_damage_is_found_and_what_is_whole_is_restored():
    registry, backups, other = await filled(), backups_in(), Registry()
    whole = await registry.push(A, image(b"whole"), b"whole", tag="v3")
    backup = await registry.backup(backups)
    store, wrong = backups.pool._store, []
    await store.put(layout.blob(Digest.of(SMALL)), b"something else")
    await store.delete(layout.blob(Digest.of(FIRST)))
    await backups.verify([backup], lambda digest, reason: wrong.append((digest, reason)))
    assert {digest for digest, _ in wrong} == {Digest.of(SMALL), Digest.of(FIRST)}
    told = []
    restoring = other.restoring(backups, failed=lambda what, reason: told.append(what))
    done = await restoring.restore(backup)
    assert done.failed == len(told) > 0
    # No image is there that lacks something; what only it needs may have been copied before.
    ((place, (tags, manifests, blobs)),) = (await other.content()).items()
    assert (place, tags, manifests) == (A, {"v3": whole}, {whole})
    assert set(blobs.values()) == {CONFIG, b"whole"}


async def test_bytes_that_the_registry_has_wrong_are_told_and_not_taken():
    registry, backups = Registry(), backups_in()
    await registry.push(A, FIRST, LARGE, CONFIG, tag="v1")
    for key in await registry.store.list("data/"):
        await registry.store.put(key, b"X" * len(LARGE))
    told = []
    backup = await registry.backup(backups, missing=lambda digest, reason: told.append(digest))
    assert told == [Digest.of(LARGE)]
    assert backup.summary.missing == 1
    assert layout.blob(Digest.of(LARGE)) not in await pool_of(backups)


async def test_of_two_at_once_one_waits_or_is_told():
    registry, store = await filled(), MemoryStore()
    backups = backups_in(store)
    async with backups._coordinator.hold("backup"):
        with pytest.raises(LeaseHeld):
            await registry.backup(backups)
    results = await asyncio.gather(*(registry.backup(backups, wait=10.0) for _ in range(3)))
    assert {each.id for each in results} == {each.id for each in await backups.all()}


async def test_a_backup_keeps_to_its_pace():
    registry, backups = await filled(), backups_in()
    loop = asyncio.get_running_loop()
    began = loop.time()
    await registry.backup(backups, per_second=130_000)
    assert loop.time() - began > 0.4


async def test_what_is_damaged_is_told_and_the_rest_is_backed_up():
    registry, backups, told = await filled(), backups_in(), []
    await registry.backup(backups)
    tag = (await registry.store.list(keys.tags(ROOT)))[0]
    await registry.store.put(keys.manifest(A, Digest.of(FIRST)), b"nonsense")
    await registry.store.put(tag, b"nonsense")
    backup = await registry.backup(
        backups, missing=lambda what, reason: told.append((what, reason))
    )
    assert sorted(what for what, _ in told) == sorted([Digest.of(FIRST), tag])
    assert backup.summary.missing == 2
    other = Registry()
    assert (await other.restore(backups, backup)).failed == 0
    assert {place: tags for place, (tags, _, _) in (await other.content()).items()} == {
        A: {"v1": Digest.of(SECOND)},
        B: {"all": Digest.of(index(FIRST))},
        ROOT: {},
    }


async def test_a_manifest_with_other_bytes_is_not_taken_for_what_the_backups_have():
    registry, backups, told = await filled(), backups_in(), []
    await registry.backup(backups)
    key = keys.manifest(A, Digest.of(FIRST))
    stored = (await registry.store.get(key)).data
    await registry.store.put(key, stored.replace(FIRST, FIRST + b" "))
    await registry.backup(backups, missing=lambda what, _: told.append(what))
    assert told == [Digest.of(FIRST)]


async def test_a_damaged_index_of_a_repository_does_not_stop_a_restore():
    registry, backups, other = await filled(), backups_in(), Registry()
    backup = await registry.backup(backups)
    (project,) = await backups.tree.parts(backup.root, layout.PROJECT)
    first = (await backups.tree.parts(project, layout.REPOSITORY))[1]
    await backups.pool._store.put(layout.blob(first.digest), b"nonsense")
    assert (await other.restore(backups, backup)).failed == 1
    assert len(await other.content()) == 2
