"""Quotas: what is stored is counted once, what does not fit is refused before it is stored."""

import asyncio

import pytest

from registry.service.quotas.counting import TOGETHER, fill_of
from registry.spec.conditions import Conditions
from registry.spec.digest import Digest
from registry.spec.errors import DigestMismatch, QuotaExceeded, UploadUnknown
from registry.spec.names import Place, Tag
from registry.spec.quota import Account, Amounts, Limits
from storage import keys
from storage.coordination import LeaseHeld
from storage.inprocess import InProcessCoordinator
from storage.memory import MemoryStore
from storage.ports import Unavailable
from storage.testing import FaultyStore
from tests.service.content import chunk, image, push
from tests.service.quotas import (
    OTHER,
    PROJECT,
    REPOSITORY,
    account,
    in_parts,
    limited,
    process,
    push_blob,
    settled,
    stored,
)

LAYER, CONFIG = b"layer" * 40_000, b"{}"
IMAGE = image(LAYER, config=CONFIG)
MANIFEST = len("application/vnd.oci.image.manifest.v1+json\n") + len(IMAGE)
V1, V2 = Tag("v1"), Tag("v2")


@pytest.fixture
def store():
    return MemoryStore()


@pytest.fixture(params=[True, False], ids=["exact", "created"])
def exact(request):
    """Whether the store deletes at a version; MinIO does not, and is written to in another way."""
    return request.param


async def push_image(services, *tags: Tag) -> None:
    await in_parts(services, LAYER, 100_000)
    await push_blob(services, CONFIG)
    for tag in tags:
        await services.manifests.put(REPOSITORY, push(IMAGE, tag), "me")


async def test_an_image_counts_its_blobs_manifest_tags_and_repository(store, exact):
    await limited(store, bytes=10_000_000)
    services = process(store, exact=exact)
    await push_image(services, V1, V2)
    whole = Amounts(len(LAYER) + len(CONFIG) + MANIFEST, repositories=1, tags=2)
    assert await settled(services) == whole
    assert await stored(store) == whole


@pytest.mark.parametrize("again", ["upload", "parts", "mount", "image"])
async def test_what_is_there_already_counts_once(store, again, exact):
    await limited(store, bytes=10_000_000)
    services = process(store, exact=exact)
    await push_image(services, V1)
    await services.blobs.mount(OTHER, Digest.of(LAYER), REPOSITORY)
    before = await settled(services)
    if again == "upload":
        await push_blob(services, LAYER)
    elif again == "parts":
        await in_parts(services, LAYER, 7)
    elif again == "mount":
        await services.blobs.mount(OTHER, Digest.of(LAYER), REPOSITORY)
    else:
        await services.manifests.put(REPOSITORY, push(IMAGE, V1), "me")
    assert await settled(services) == before
    assert await stored(store) == before


class Deleting(FaultyStore):
    """Another deletes the manifest, once, just before a call of this method."""

    method: str | None = None

    async def step(self, method, key, call, half=None):
        if method == self.method and "/manifests/" in key:
            self.method = None
            await self.inner.delete(key)
        return await super().step(method, key, call, half)


@pytest.mark.parametrize("deleted_before", [None, "stat", "replace"])
async def test_a_manifest_that_is_pushed_again_is_as_young_as_a_new_one(
    store, deleted_before, exact
):
    """Retention asks how old it is. One that is deleted meanwhile is stored, and counts."""
    await limited(store, bytes=10_000_000)
    services = process(store, exact=exact)
    await push_image(services, V1)
    key, before = keys.manifest(REPOSITORY, Digest.of(IMAGE)), await settled(services)
    first = await store.stat(key)
    faulty = Deleting(store)
    again = process(faulty, exact=exact)
    faulty.method = deleted_before
    await again.manifests.put(REPOSITORY, push(IMAGE, Digest.of(IMAGE)), "me")
    assert (await store.stat(key)).modified > first.modified
    # What deletes it here gives nothing back.
    assert await settled(again) == before + Amounts(MANIFEST if deleted_before else 0)


async def test_a_blob_counts_in_each_repository_and_its_bytes_once_as_physical(store):
    await limited(store, bytes=10_000_000)
    services = process(store)
    await push_blob(services, LAYER)
    await services.blobs.mount(OTHER, Digest.of(LAYER), REPOSITORY)
    assert await settled(services) == Amounts(2 * len(LAYER))
    assert await stored(store) == Amounts(2 * len(LAYER))
    assert (await account(services)).physical == len(LAYER)


async def test_an_upload_that_does_not_fit_is_refused_before_a_byte_is_taken(store):
    await limited(store, bytes=len(LAYER) - 1)
    services, taken = process(store), []

    async def body():
        taken.append(1)
        yield LAYER

    big = chunk(b"")
    refused = type(big)(body(), len(LAYER), None)
    session = (await services.uploads.start(REPOSITORY, "me")).session
    with pytest.raises(QuotaExceeded) as caught:
        await services.uploads.append(REPOSITORY, session, "me", refused)
    assert taken == []
    assert caught.value.detail == {
        "quota": "bytes",
        "limit": len(LAYER) - 1,
        "left": len(LAYER) - 1,
        "needed": len(LAYER),
    }
    assert "195.3 KiB" in caught.value.message
    with pytest.raises(QuotaExceeded):
        await services.uploads.upload(REPOSITORY, "me", Digest.of(LAYER), chunk(LAYER))
    assert await store.list("data/") == []
    assert await store.list("uploads/") == []
    await push_blob(services, LAYER[1:])
    assert await settled(services) == Amounts(len(LAYER) - 1)


async def test_a_body_of_unknown_length_ends_where_the_room_does_and_nothing_stays(store):
    await limited(store, bytes=150_000)
    services = process(store)
    session = (await services.uploads.start(REPOSITORY, "me")).session
    streamed = chunk(LAYER, piece=10_000)
    streamed = type(streamed)(streamed.body, None, None)
    with pytest.raises(QuotaExceeded):
        await services.uploads.append(REPOSITORY, session, "me", streamed)
    with pytest.raises(UploadUnknown):
        await services.uploads.status(REPOSITORY, session, "me")
    assert await settled(services) == Amounts()
    await push_blob(services, LAYER[:150_000])


async def test_with_no_room_at_all_no_upload_is_begun(store):
    await limited(store, bytes=len(LAYER))
    services = process(store)
    await push_blob(services, LAYER)
    with pytest.raises(QuotaExceeded):
        await services.uploads.start(REPOSITORY, "me")


async def test_a_session_counts_while_it_is_open_and_no_more_when_it_is_cancelled(store):
    await limited(store, bytes=1_000_000)
    services = process(store)
    session = (await services.uploads.start(REPOSITORY, "me")).session
    await services.uploads.append(REPOSITORY, session, "me", chunk(LAYER))
    assert await settled(services) == Amounts(len(LAYER))
    assert await stored(store) == Amounts(len(LAYER))
    await services.uploads.cancel(REPOSITORY, session, "me")
    assert await settled(services) == Amounts()
    assert await stored(store) == Amounts()


async def test_a_session_whose_content_is_wrong_gives_back_what_it_counted(store):
    await limited(store, bytes=1_000_000)
    services = process(store)
    session = (await services.uploads.start(REPOSITORY, "me")).session
    await services.uploads.append(REPOSITORY, session, "me", chunk(LAYER))
    with pytest.raises(DigestMismatch):
        await services.uploads.finish(REPOSITORY, session, "me", Digest.of(CONFIG), chunk(b""))
    assert await settled(services) == Amounts()


async def test_a_session_whose_time_is_over_gives_back_what_it_counted(store, monkeypatch):
    await limited(store, bytes=1_000_000)
    services = process(store)
    session = (await services.uploads.start(REPOSITORY, "me")).session
    await services.uploads.append(REPOSITORY, session, "me", chunk(LAYER))
    monkeypatch.setattr("registry.service.session_records.age", lambda _: 1e9)
    monkeypatch.setattr("registry.service.uploads.age", lambda _: 1e9)
    assert await services.uploads.expire() == 1
    assert await settled(services) == Amounts()
    assert await store.list("uploads/") == []


async def test_a_record_of_a_newer_release_stops_no_count_and_no_expiry(store, monkeypatch, caplog):
    """It is told once, and left, whoever it belongs to."""
    await limited(store, bytes=1_000_000)
    services = process(store)
    first, newer, last = sorted(
        [(await services.uploads.start(REPOSITORY, "me")).session for _ in range(3)]
    )
    for session in (first, newer, last):
        await services.uploads.append(REPOSITORY, session, "me", chunk(LAYER))
    await settled(services)
    await store.put(keys.upload(newer), b'{"offset":3,"tenant":"project","newer":1}\nabc')
    assert await stored(store) == Amounts(2 * len(LAYER))
    assert await services.uploads.drop_of("nobody") == 0
    monkeypatch.setattr("registry.service.session_records.age", lambda _: 1e9)
    monkeypatch.setattr("registry.service.uploads.age", lambda _: 1e9)
    assert await services.uploads.expire() == 2
    assert await store.list("uploads/") == [keys.upload(newer)]
    assert await stored(store) == Amounts()
    (told,) = [record for record in caplog.records if newer in record.getMessage()]
    assert told.levelname == "WARNING"


async def test_a_part_that_does_not_fit_ends_its_session_so_that_others_have_the_room(store):
    await limited(store, bytes=len(LAYER))
    services = process(store)
    session = (await services.uploads.start(REPOSITORY, "me")).session
    await services.uploads.append(REPOSITORY, session, "me", chunk(LAYER[:-1]))
    with pytest.raises(QuotaExceeded):
        await services.uploads.append(REPOSITORY, session, "me", chunk(b"12"))
    await push_blob(services, LAYER)


async def test_a_finish_on_another_process_needs_no_second_room(store):
    await limited(store, bytes=len(LAYER))
    one, two = process(store), process(store)
    session = (await one.uploads.start(REPOSITORY, "me")).session
    await one.uploads.append(REPOSITORY, session, "me", chunk(LAYER[:-1]))
    digest, rest = Digest.of(LAYER), chunk(LAYER[-1:])
    await two.uploads.finish(REPOSITORY, session, "me", digest, rest)
    assert await settled(one, two) == Amounts(len(LAYER))
    assert await stored(store) == Amounts(len(LAYER))


@pytest.mark.parametrize(
    ("limit", "marks"), [(1_000 * len(LAYER), 0), (len(LAYER) + 100, 1)], ids=["wide", "narrow"]
)
@pytest.mark.parametrize("there", [False, True], ids=["new", "there"])
async def test_the_end_of_a_session_is_marked_only_where_it_has_no_room_twice(
    store, limit, marks, there
):
    if there:
        await push_blob(process(store), LAYER, OTHER)
        await process(store).blobs.mount(REPOSITORY, Digest.of(LAYER), OTHER)
    await limited(store, bytes=limit)
    faulty = FaultyStore(store)
    services = process(faulty)
    session = await in_parts(services, LAYER, 100_000)
    assert faulty.log.count(("replace", keys.upload(session))) == marks
    assert await settled(services) == Amounts(0 if there else len(LAYER))
    assert not await store.list(keys.UPLOADS)


async def test_tags_and_repositories_have_limits_of_their_own(store):
    await limited(store, tags=1, repositories=1)
    services = process(store)
    await push_image(services, V1)
    with pytest.raises(QuotaExceeded, match="quota of 1 tags has 0 left, but this push needs 1"):
        await services.manifests.put(REPOSITORY, push(IMAGE, V2), "me")
    await services.manifests.put(REPOSITORY, push(IMAGE, V1), "me")
    await push_blob(services, CONFIG, OTHER)
    other = image(config=CONFIG)
    with pytest.raises(QuotaExceeded, match="repositories"):
        digest = Digest.of(other)
        await services.manifests.put(OTHER, push(other, digest), "me")
    await services.deletions.delete(REPOSITORY, V1, Conditions())
    await services.manifests.put(REPOSITORY, push(IMAGE, V2), "me")


async def test_a_refused_manifest_leaves_nothing(store):
    await limited(store, bytes=len(LAYER) + len(CONFIG) + MANIFEST - 1)
    services = process(store)
    await push_image(services)
    before = await store.list("repos/")
    with pytest.raises(QuotaExceeded):
        await services.manifests.put(REPOSITORY, push(IMAGE, V1), "me")
    assert await store.list("repos/") == before
    assert await store.list("catalog/") == []


async def test_a_deleted_manifest_gives_back_itself_and_its_tags_at_once(store):
    await limited(store, bytes=1_000_000)
    services = process(store)
    await push_image(services, V1, V2)
    await services.deletions.delete(REPOSITORY, Digest.of(IMAGE), Conditions())
    left = Amounts(len(LAYER) + len(CONFIG), repositories=1)
    assert await settled(services) == left
    await services.reinstatements.undelete(REPOSITORY, Digest.of(IMAGE), "me")
    assert await settled(services) == left + Amounts(MANIFEST, tags=2)
    assert await stored(store) == left + Amounts(MANIFEST, tags=2)


async def test_a_deleted_repository_gives_back_all_but_its_blobs_at_once(store):
    await limited(store, bytes=1_000_000, repositories=1)
    services = process(store)
    await push_image(services, V1, V2)
    done = await services.repositories.delete(REPOSITORY, "me")
    assert await settled(services) == Amounts(len(LAYER) + len(CONFIG))
    assert await stored(store) == Amounts(len(LAYER) + len(CONFIG))
    back = await services.repositories.undelete(REPOSITORY, done.since, "me")
    assert (back.manifests, back.tags) == (1, 2)
    whole = Amounts(len(LAYER) + len(CONFIG) + MANIFEST, repositories=1, tags=2)
    assert await settled(services) == await stored(store) == whole


async def test_a_project_without_limits_costs_no_call_of_the_store():
    inner = MemoryStore()
    calls = []
    for limits in (False, True):
        store = FaultyStore(inner)
        services = process(store)
        services.quotas._enabled = limits
        for _ in range(2):
            await push_image(services, V1)
            store.log.clear()
        await push_image(services, V1)
        calls.append([method for method, _ in store.log])
    assert calls[0] == calls[1]


async def test_where_little_is_left_a_push_is_warned(store):
    await limited(store, bytes=1000, warn_percent=80)
    services = process(store)
    await push_blob(services, b"x" * 700)
    assert services.quotas.warning(PROJECT) == ""
    await push_blob(services, b"y" * 150)
    told = services.quotas.warning(PROJECT)
    assert told.startswith("85% of the project's quota of 1000 B are used: 1")


async def hold_something(services, *projects: str) -> None:
    """Give each project limits, an open upload and a blob, of sizes that differ."""
    for number, project in enumerate(projects, 1):
        await services.quotas.begin(project, Limits(bytes=1_000_000), empty=False)
        place, uploads = Place(f"{project}/env"), services.uploads
        session = (await uploads.start(place, "me")).session
        await uploads.append(place, session, "me", chunk(bytes(number)))
        await push_blob(services, b"%d" % number * 1000, place)
    await services.quotas.settle(close=True)


async def test_what_is_due_is_counted_with_one_look_at_the_uploads_of_many_projects(store):
    faulty = FaultyStore(store)
    services = process(faulty)
    projects = [f"p{number}" for number in range(TOGETHER + 1)]
    await hold_something(services, *projects)
    faulty.log.clear()
    assert await services.quotas.counting.count_due() == len(projects)
    looked = [key for method, key in faulty.log if method == "get" and key.startswith(keys.UPLOADS)]
    assert len(looked) == 2 * len(projects)
    for number, project in enumerate(projects, 1):
        found = await services.quotas.find(project)
        assert found.used == Amounts(number + len(b"%d" % number * 1000))
    assert await services.quotas.counting.count_due() == 0


async def test_a_project_that_cannot_be_counted_keeps_no_other_from_it(store):
    faulty = FaultyStore(store)
    services = process(faulty)
    await hold_something(services, "p1", "p2", "p3")
    await store.put(keys.quota("p2"), b"of a newer release")
    faulty.fail(1, "stat", raises=lambda key: Unavailable(key, "a fault that the test asked for"))
    counting = services.quotas.counting
    assert await counting.count_due() == 1
    assert counting.counts["failed"] == 2
    assert (await services.quotas.find("p1")).counted is None
    assert (await services.quotas.find("p3")).counted is not None


async def test_what_another_process_counts_is_left_to_it(store):
    coordinator = InProcessCoordinator()
    faulty = FaultyStore(store)
    one, two = process(faulty, coordinator), process(store, coordinator)
    await hold_something(one, "p1")
    # The account is read once to see whether it is due, and once more when nobody else counts.
    gate = faulty.gate(2, "get")
    first = asyncio.create_task(one.quotas.counting.count_due())
    await gate.reached.wait()
    with pytest.raises(LeaseHeld):
        await two.quotas.counting.count_due()
    gate.open()
    assert await first == 1


@pytest.mark.parametrize(
    ("used", "tier"),
    [(0, "0-50"), (49, "0-50"), (50, "50-80"), (94, "80-95"), (95, "95-100"), (300, "95-100")],
)
def test_a_project_is_counted_by_the_limit_of_which_most_is_used(used, tier):
    account = Account(Limits(bytes=1000, tags=100), used=Amounts(bytes=10, tags=used))
    assert fill_of(account) == tier
