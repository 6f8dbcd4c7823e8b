"""What the collector takes away, what it leaves, and when."""

import asyncio
from contextlib import suppress
from itertools import count

import pytest

from registry.service.collection.collector import NotLinked
from registry.service.collection.findings import Done, Kind
from registry.service.collection.needs import Known, Needs
from registry.service.entries import Entries
from registry.service.presence import exists
from registry.service.records import Corrupt, Record
from registry.service.services import Services
from registry.service.terms import Terms
from registry.spec.digest import Digest
from registry.spec.errors import BlobUnknown, ManifestBlobUnknown, ManifestUnknown, UploadUnknown
from registry.spec.mediatype import (
    DOCKER_CONFIG,
    DOCKER_LAYER,
    DOCKER_MANIFEST,
    OCI_INDEX,
    OCI_MANIFEST,
)
from registry.spec.names import Place, Tag
from registry.spec.quota import Amounts, Limits
from storage import keys
from storage.inprocess import InProcessCoordinator
from storage.memory import MemoryStore
from storage.testing import Crash, FaultyStore
from tests.service.collection import (
    BLOBS,
    CONFIG,
    DIGEST,
    GRACE,
    IMAGE,
    LAYER,
    V1,
    WINDOW,
    A,
    B,
    Clock,
    Registry,
)
from tests.service.content import chunk, descriptor, encode, image, push

SUBJECT = descriptor(b"not there", OCI_MANIFEST)


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


@pytest.fixture(params=[True, False], ids=["exact", "created"])
async def registry(clock, request):
    registry = Registry(clock, exact=request.param)
    assert await registry.marker().begin()
    return registry


async def test_an_image_that_is_there_stays(registry):
    await registry.push()
    await registry.empty()
    assert await registry.pulls()
    assert await registry.keys("gc/due/") == []


async def test_a_manifest_is_read_once_and_only_where_something_may_be_collected(registry, clock):
    """Then entries tell what it needs, and its link is where a push that moves the tag looks."""
    other = image(LAYER, LAYER)
    for body, tag in ((IMAGE, V1), (other, Tag("v2"))):
        await registry.push(body=body, tag=tag)
    await registry.services.manifests.put(A, push(other, V1), "me")
    links = f"repos/{A}!/tagged/"
    pushed = [
        keys.pushed(A, DIGEST, V1),
        *(keys.pushed(A, Digest.of(other), t) for t in (V1, "v2")),
    ]
    assert await registry.keys(f"repos/{A}!/pushed/", f"repos/{A}!/needed/") == sorted(pushed)
    await registry.services.candidates.add(A, members=BLOBS)
    await registry.collect()
    # A push that is as young as that may rely on its link.
    assert await registry.keys(f"repos/{A}!/pushed/") == sorted(pushed)
    clock.ahead += GRACE
    await registry.services.candidates.add(A, members=BLOBS)
    await registry.collect()
    assert await registry.keys(f"repos/{A}!/pushed/") == []
    assert await registry.keys(links) == [
        f"{links}{Digest.of(other)}/{tag}" for tag in ("v1", "v2")
    ]
    needed = [
        keys.needed(A, blob) + digest for blob in BLOBS for digest in (DIGEST, Digest.of(other))
    ]
    assert await registry.keys(f"repos/{A}!/needed/") == sorted(needed)
    store = FaultyStore(registry.store)
    await registry.services.candidates.add(A, members=BLOBS)
    await registry.over(store).collect()
    assert not [key for _, key in store.log if "/manifests/" in key and DIGEST not in key][1:]


async def test_a_dry_run_knows_what_manifests_need_that_nobody_has_read(registry):
    await registry.push()
    await registry.services.candidates.add(A, members=BLOBS)
    before = await registry.keys()
    await registry.collect(look=True)
    assert registry.findings == []
    assert await registry.keys() == before


async def test_a_deleted_image_goes_when_its_time_is_over_and_nothing_is_left(registry):
    await registry.push()
    await registry.delete()
    with pytest.raises(ManifestUnknown):
        await registry.services.manifests.get(A, V1)
    registry.clock.ahead += WINDOW - 1
    await registry.collect()
    assert await registry.holds(LAYER), "it can still be had back"
    await registry.empty()
    assert await registry.keys() == []
    removed = [each for each in registry.findings if each.done is Done.REMOVED]
    assert {each.name for each in removed if each.kind is Kind.BLOB} == set(BLOBS)
    assert sum(each.size for each in removed) == len(LAYER) + len(CONFIG)


async def test_blobs_that_another_image_or_repository_needs_stay(registry):
    other = image(LAYER, config=b"other")
    await registry.push()
    await registry.push(body=other, tag=Tag("v2"), blobs=(LAYER, b"other"))
    await registry.push(B)
    await registry.delete(A)
    await registry.empty()
    assert await registry.pulls(B)
    assert await registry.holds(LAYER, A)
    assert not await registry.holds(CONFIG, A)
    await registry.delete(B)
    await registry.empty()
    assert await registry.holds(LAYER, A)
    assert (await registry.services.manifests.get(A, Tag("v2"))).data == other
    await registry.delete(A, Digest.of(other))
    await registry.empty()
    assert await registry.keys() == []


KINDS = {
    "docker": (DOCKER_MANIFEST, {"schemaVersion": 2}),
    "a subject that is not there": (OCI_MANIFEST, {"schemaVersion": 2, "subject": SUBJECT}),
    "unknown": ("application/vnd.example.v1+json", {}),
}


@pytest.mark.parametrize("kind", KINDS)
async def test_what_a_manifest_of_any_kind_describes_stays(registry, kind):
    """C8: and indexes of indexes keep nothing but themselves; their children stay by themselves."""
    media_type, more = KINDS[kind]
    await registry.upload(LAYER)
    await registry.upload(CONFIG)
    described = {
        "config": descriptor(CONFIG, DOCKER_CONFIG),
        "layers": [descriptor(LAYER, DOCKER_LAYER)],
    }
    body = encode(more | {"mediaType": media_type} | described)
    await registry.services.manifests.put(A, push(body, V1, media_type=media_type), "me")
    inner = encode({"schemaVersion": 2, "manifests": [descriptor(body, media_type)]})
    outer = encode({"schemaVersion": 2, "manifests": [descriptor(inner, OCI_INDEX)]})
    for index in (inner, outer):
        await registry.services.manifests.put(A, push(index, V1, media_type=OCI_INDEX), "me")
    await registry.delete(reference=Digest.of(outer))
    await registry.delete(reference=Digest.of(inner))
    await registry.empty()
    stored = await registry.services.manifests.get(A, Digest.of(body))
    assert stored.data == body
    assert await registry.holds(LAYER)
    assert await registry.holds(CONFIG)


async def test_blobs_that_no_manifest_came_for_go(registry):
    await registry.upload(LAYER)
    await registry.upload(CONFIG)
    await registry.services.blobs.mount(B, BLOBS[0], A)
    await registry.empty()
    assert await registry.keys() == []


async def test_a_blob_that_is_asked_for_now_and_then_stays_and_a_manifest_can_rely_on_it(registry):
    """C5: a client that is told of a blob skips its upload."""
    await registry.upload(LAYER)
    await registry.upload(CONFIG)
    for _ in range(10):
        await registry.pass_time()
        assert await registry.holds(LAYER)
        assert await registry.holds(CONFIG)
    assert Done.CONDEMNED in {each.done for each in registry.findings}
    registry.clock.ahead += GRACE - 1
    await registry.collect()
    await registry.services.manifests.put(A, push(IMAGE, V1), "me")
    await registry.empty()
    assert await registry.pulls()


async def test_what_is_gone_is_unknown_to_head_mount_and_manifest(registry):
    await registry.upload(LAYER)
    await registry.upload(CONFIG)
    await registry.empty()
    with pytest.raises(BlobUnknown):
        await registry.services.blobs.find(A, BLOBS[0])
    assert await registry.services.blobs.mount(B, BLOBS[0], A) is None
    with pytest.raises(ManifestBlobUnknown):
        await registry.services.manifests.put(A, push(IMAGE, V1), "me")
    await registry.push()
    assert await registry.pulls()


async def test_a_condemned_blob_that_is_mounted_pushed_or_uploaded_again_stays(registry):
    for again in ("mount", "upload"):
        await registry.push()
        await registry.delete()
        registry.clock.ahead += WINDOW + registry.terms.patience
        await registry.collect()
        assert registry.findings[-1].done is Done.CONDEMNED
        registry.clock.ahead += GRACE - 1
        if again == "mount":
            for digest in BLOBS:
                assert await registry.services.blobs.mount(B, digest, A)
            await registry.services.manifests.put(B, push(IMAGE, V1), "me")
        else:
            await registry.push(B)
        await registry.empty()
        assert await registry.pulls(B)
        assert not await registry.holds(LAYER, A)
        await registry.delete(B)
        await registry.empty()
        assert await registry.keys() == []


async def test_a_pointer_that_is_condemned_or_being_deleted_takes_new_bytes(registry):
    await registry.push()
    await registry.delete()
    registry.clock.ahead += registry.terms.patience
    await registry.pass_time(int(WINDOW / GRACE) + 1)
    assert await registry.keys("refs/") == []
    assert len(await registry.keys("blobs/")) == 2, "condemned"
    broken = FaultyStore(registry.store)
    broken.fail(1, "delete")  # the bytes
    broken.fail(2, "delete")
    dying = registry.over(broken)
    registry.clock.ahead += GRACE
    await dying.collect()
    await registry.push(B)
    assert await registry.pulls(B)
    await registry.empty()
    assert await registry.pulls(B)
    assert len(await registry.keys("data/")) == 1, "the bytes that a dead collector left go too"


async def test_a_deleted_blob_is_gone_at_once_and_its_bytes_later(registry):
    await registry.upload(LAYER)
    await registry.services.blobs.delete(A, BLOBS[0])
    for _ in range(2):
        with pytest.raises(BlobUnknown):
            await registry.services.blobs.delete(A, BLOBS[0])
        assert not await registry.holds(LAYER)
    assert len(await registry.keys("gc/due/")) == 1
    await registry.empty()
    assert await registry.keys() == []


async def test_what_a_manifest_left_that_was_refused_or_broke_off_goes(registry, clock):
    await registry.upload(LAYER)
    await registry.upload(CONFIG)
    broken = FaultyStore(registry.store)
    broken.fail(2 if registry.exact else 1, "put_all")  # the manifest
    with pytest.raises(Exception, match="a fault"):
        await registry.over(broken).services.manifests.put(A, push(IMAGE, V1), "me")
    assert await registry.keys(f"repos/{A}!/pushed/") == [keys.pushed(A, DIGEST, V1)]
    await registry.empty()
    assert await registry.keys() == []


async def test_a_finish_that_is_repeated_after_its_blob_was_collected_is_unknown(registry):
    """Else a name would be given to bytes that are being taken away."""
    session, data = await _finished_and_collected(registry, LAYER * 3)
    with pytest.raises(UploadUnknown):
        await registry.services.uploads.finish(A, session, "me", Digest.of(data), chunk(b""))
    assert await registry.keys("blobs/") == []


@pytest.mark.parametrize("more", [b"", b"more", LAYER * 3])
@pytest.mark.parametrize("data", [LAYER, CONFIG], ids=len)
async def test_bytes_that_a_record_still_holds_get_another_key_than_what_was_collected(
    registry, data, more
):
    """A late deletion of what was there can't hit them."""
    session, data = await _finished_and_collected(registry, data)
    uploads, whole = registry.services.uploads, data + more
    if len(more) > len(LAYER):
        await uploads.append(A, session, "me", chunk(more))
        more = b""
    blob = await uploads.finish(A, session, "me", Digest.of(whole), chunk(more))
    assert blob.data != keys.data(session)
    await registry.store.delete(keys.data(session))
    assert await registry.holds(whole)
    if blob.data:
        assert (await registry.store.stat(blob.data)).size == len(whole)
    assert await registry.keys("uploads/") == []


async def _finished_and_collected(registry, data):
    uploads = registry.services.uploads
    session = (await uploads.start(A, "me")).session
    await uploads.append(A, session, "me", chunk(data))
    record = await registry.store.get(keys.upload(session))
    await uploads.finish(A, session, "me", Digest.of(data), chunk(b""))
    await registry.store.put(keys.upload(session), record.data)  # as if it had broken off
    await registry.empty()
    assert not await registry.holds(data)
    return session, data


async def test_a_dry_run_changes_nothing_and_tells_what_would_be_done(registry):
    await registry.upload(LAYER)
    await registry.services.candidates.flush(everything=True)
    before = await registry.keys()
    await registry.collect(look=True)
    assert await registry.keys() == before
    assert [(each.name, each.done) for each in registry.findings] == [(BLOBS[0], Done.CONDEMNED)]


async def test_a_project_that_was_purged_leaves_no_bytes(registry):
    await registry.push()
    for digest in BLOBS:
        await registry.services.candidates.add(Place(""), pointers=[digest])
        await registry.services.blobs.purge(A, digest)
    await registry.empty()
    assert await registry.keys("blobs/", "data/", "refs/") == []


# Manifests that are not where what tells of them is


async def test_a_tag_whose_manifest_is_missing_is_still_found_by_who_deletes_that(registry):
    """It was damaged and put aside, say; and what told of its push was struck out since."""
    await registry.push()
    await registry.store.delete(keys.manifest(A, DIGEST))
    registry.clock.ahead += GRACE
    await registry.marker().mark()
    assert not await exists(registry.store, keys.pushed(A, DIGEST, V1))
    await registry.delete()
    with pytest.raises(ManifestUnknown):
        await registry.services.tags.resolve(A, V1)


async def test_a_push_is_told_of_though_clocks_differ_by_a_quarter_of_the_grace(clock):
    """It is about to store its manifest; to the collector its entry looks older than it is."""
    store, terms = MemoryStore(), Terms(clock=clock, pace=clock)
    services = Services.over(store, InProcessCoordinator(), files=None, memory=0, terms=terms)
    entries = Entries(store, exact=True)
    await entries.put([(keys.pushed(A, DIGEST, V1), b"mark")])
    clock.ahead += terms.patience + terms.grace / 4

    async def left():
        needs = Needs(store, entries, services.candidates, terms, Known(clock()))
        return (await needs.of(A)).left

    assert await left() == {DIGEST}
    assert await exists(store, keys.pushed(A, DIGEST, V1))
    clock.ahead += terms.grace / 4
    assert await left() == set()
    assert not await exists(store, keys.pushed(A, DIGEST, V1))


# A store that is older than the collector


async def unlink(registry) -> None:
    for key in await registry.keys():
        if "/needed/" in key or "/pushed/" in key or key.startswith("gc/"):
            await registry.store.delete(key)
    for key in (keys.READ, keys.MARK):
        await registry.store.delete(key)


async def test_a_store_that_is_older_is_marked_before_anything_is_collected(registry):
    await registry.push()
    await registry.upload(b"unneeded")
    await unlink(registry)
    with pytest.raises(NotLinked):
        await registry.collector().collect()
    assert not await registry.marker().begin()
    registry.clock.ahead += GRACE - 1
    assert not await registry.marker().begin()
    registry.clock.ahead += 1
    assert await registry.marker().begin()
    await registry.empty()
    assert await registry.pulls()
    assert not await registry.holds(b"unneeded")


async def test_a_store_of_a_release_whose_pushes_entered_needs_is_taken_over(registry):
    """And replicas of that release collect nothing from then on: what is pushed now enters none."""
    await registry.push()
    await registry.empty()
    for key in (keys.READ, keys.MARK, keys.pushed(A, DIGEST, V1)):
        await registry.store.delete(key)
    await registry.store.put(keys.LINKED, b"")
    await registry.marker().take_over()
    assert await registry.marker().begin()
    assert not await exists(registry.store, keys.LINKED)

    class Before(Record, frozen=True):
        since: float = 0.0
        after: str = ""

    for _ in range(2):
        with pytest.raises(Corrupt):
            Before.decode((await registry.store.get(keys.MARK)).data)
        await registry.marker().mark()
    await registry.empty()
    assert await registry.pulls()


@pytest.mark.parametrize("left", ["linked", "broken off", "marked by them"])
async def test_a_store_stays_taken_over(registry, left):
    """Whatever was done to it before: replicas of the release before find no store to collect."""
    for key in (keys.READ, keys.MARK):
        await registry.store.delete(key)
    await registry.store.put(keys.LINKED, b"")
    marker = registry.marker()
    if left == "linked":
        await marker.mark()
    elif left == "broken off":
        store = FaultyStore(registry.store)
        store.crash(1, "delete")
        with suppress(Crash):
            await registry.over(store).marker().take_over()
        assert await exists(registry.store, keys.LINKED)
        await marker.begin()
    else:
        await marker.take_over()
        await registry.store.delete(keys.MARK)
        await registry.store.put(keys.LINKED, b"")
        await marker.begin()
    assert not await exists(registry.store, keys.LINKED)
    assert b'"reads":true' in (await registry.store.get(keys.MARK)).data


async def test_a_mark_that_broke_off_goes_on_and_links_everything(registry):
    for place in (A, B, Place("project/c")):
        await registry.push(place)
    await unlink(registry)
    for call in count(1):
        store = FaultyStore(registry.store)
        store.crash(call)
        with suppress(Crash):
            await registry.over(store).marker().mark()
        if store.total < call:
            break
    await registry.empty()
    for place in (A, B, Place("project/c")):
        assert await registry.pulls(place)


async def test_a_mark_finds_what_no_event_told_of(registry):
    await registry.push()
    await registry.upload(b"small, and no manifest ever came")
    await registry.upload(LAYER[1:], Place("project/never-had-a-manifest"))
    await registry.push(B)
    await registry.store.delete(keys.manifest(B, DIGEST))
    reference = keys.reference(Digest.of(b"lost"), A)
    await registry.store.put(reference, b"mark")
    await registry.store.put(keys.pointer(Digest.of(b"lost")), b'{"size":4}\nlost')
    await registry.store.put("data/00/" + "0" * 32, b"left by a finish that broke off")
    for key in await registry.keys("gc/due/"):
        await registry.store.delete(key)
    registry.services.candidates._noted.clear()
    registry.clock.ahead += 8 * 24 * 3600 + GRACE
    dry = await registry.marker().mark(look=True)
    assert await registry.keys("gc/due/") == []
    marked = await registry.marker().mark()
    assert dry == marked
    await registry.empty()
    assert await registry.pulls(A)
    kept = [key for key in await registry.keys() if str(A) not in key]
    assert sorted(kept) == sorted(
        [keys.pointer(each) for each in BLOBS]
        + [key for key in kept if key.startswith("data/")]
        + [key for key in kept if f"repos/{B}!/tag" in key]
    )
    assert len([key for key in kept if key.startswith("data/")]) == 1


@pytest.mark.parametrize("late", [0.0, GRACE])
async def test_a_deletion_that_the_collector_overtakes_is_looked_at_again(clock, late):
    """Its candidate is there before the manifest is gone: the collector may look in between."""
    registry = Registry(clock, window=0.0)
    assert await registry.marker().begin()
    await registry.push()
    clock.ahead += GRACE
    store = FaultyStore(registry.store)
    gates = [store.gate(1, "delete"), store.gate(3, "delete")]  # of the tag, and the manifest
    gates[0].open()
    deleting = asyncio.ensure_future(
        Registry(clock, store, registry.coordinator, window=0.0).delete()
    )
    async with asyncio.timeout(5):
        await gates[1].reached.wait()
    assert "/manifests/" in store.log[-1][1]
    clock.ahead += late
    await registry.collect()
    gates[1].open()
    await deleting
    await registry.empty()
    assert await registry.keys() == []


async def test_what_is_collected_is_given_back_to_the_quota(clock):
    registry = Registry(clock, limited=True)
    assert await registry.marker().begin()
    quotas = registry.services.quotas
    await quotas.begin("project", Limits(bytes=10_000_000))
    await registry.push()
    await registry.delete()
    await quotas.settle()
    before = await quotas.find("project")
    assert before is not None
    assert before.used.bytes == len(LAYER) + len(CONFIG)
    await registry.empty()
    await quotas.settle()
    after = await quotas.find("project")
    assert after is not None
    assert after.used == Amounts(repositories=1)
    counted = await quotas.counting.of("project")
    assert counted is not None
    assert counted.account.used == after.used
