"""What was deleted can be had back, whole, until its time is over."""

import pytest

from registry.spec.digest import Digest
from registry.spec.errors import ManifestBlobUnknown, ManifestUnknown
from registry.spec.names import Tag
from tests.service.collection import (
    BLOBS,
    DIGEST,
    GRACE,
    IMAGE,
    V1,
    WINDOW,
    A,
    Clock,
    Registry,
)
from tests.service.content import image, push


@pytest.fixture
async def registry(monkeypatch):
    registry = Registry(Clock(monkeypatch))
    assert await registry.marker().begin()
    await registry.push()
    return registry


async def test_a_deleted_image_is_had_back_with_its_tags(registry):
    await registry.services.manifests.put(A, push(IMAGE, Tag("v2")), "me")
    await registry.delete()
    registry.clock.ahead += WINDOW - 1
    await registry.collect()
    (found,), after = await registry.services.deleted.page(A, "", 10)
    assert (found.digest, found.by, list(found.tags), after) == (DIGEST, "me", ["v1", "v2"], "")
    for _ in range(2):  # an answer that was lost: it is done, and there is nothing left to do
        try:
            back = await registry.services.reinstatements.undelete(A, DIGEST, "you")
        except ManifestUnknown:
            continue
        assert list(back) == ["v1", "v2"]
    assert await registry.services.deleted.page(A, "", 10) == ([], "")
    await registry.empty()
    assert await registry.pulls()
    assert (await registry.services.tags.resolve(A, V1)).by == "you"
    await registry.delete()
    await registry.empty()
    assert await registry.keys() == []


async def test_a_tag_that_leads_elsewhere_by_now_stays(registry):
    other = image(config=b"{}")
    await registry.delete()
    await registry.services.manifests.put(A, push(other, V1), "me")
    assert await registry.services.reinstatements.undelete(A, DIGEST, "me") == []
    assert (await registry.services.tags.resolve(A, V1)).target == Digest.of(other)
    assert await registry.pulls()


async def test_it_is_unknown_when_its_time_is_over_or_nothing_was_deleted(registry):
    with pytest.raises(ManifestUnknown):
        await registry.services.reinstatements.undelete(A, DIGEST, "me")
    await registry.delete()
    registry.clock.ahead += WINDOW
    assert await registry.services.deleted.page(A, "", 10) == ([], "")
    with pytest.raises(ManifestUnknown):
        await registry.services.reinstatements.undelete(A, DIGEST, "me")


async def test_an_image_whose_blob_was_deleted_too_is_refused(registry):
    await registry.delete()
    await registry.services.blobs.delete(A, BLOBS[0])
    with pytest.raises(ManifestBlobUnknown):
        await registry.services.reinstatements.undelete(A, DIGEST, "me")


async def test_an_image_that_is_pushed_again_is_not_listed_and_stays(registry):
    await registry.delete()
    await registry.push()
    assert await registry.services.deleted.page(A, "", 10) == ([], "")
    registry.clock.ahead += WINDOW + 2 * GRACE
    await registry.empty()
    assert await registry.pulls()
    assert [key for key in await registry.keys() if "/deleted/" in key] == []
