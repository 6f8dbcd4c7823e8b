"""Nothing of a request goes on once it was answered, whichever call of the store fails."""

import asyncio
from itertools import count

import pytest

from registry.service.manifests import Push
from registry.service.services import Services
from registry.spec.conditions import Conditions
from registry.spec.digest import Digest
from registry.spec.mediatype import OCI_INDEX, OCI_MANIFEST
from registry.spec.names import Place, Tag
from registry.spec.pagination import Page
from storage.inprocess import InProcessCoordinator
from storage.memory import MemoryStore
from storage.ports import Unavailable
from storage.testing import FaultyStore
from tests.service.content import chunk, descriptor, encode, image, push

HERE, THERE = Place("project/env"), Place("project/other")
LAYER, CONFIG = b"layer" * 40_000, b"{}"
SUBJECT = image(LAYER)
IMAGE = image(LAYER, subject=Digest.of(SUBJECT))
INDEX = encode(
    {
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": [descriptor(body, OCI_MANIFEST) for body in (SUBJECT, IMAGE)],
    }
)
V1 = Tag("v1")
TAGGED = Push(Digest.of(IMAGE), (V1, Tag("v2")), IMAGE, OCI_MANIFEST, Conditions())


class Slow(FaultyStore):
    """Each call takes some turns of the loop; one that fails does so at once."""

    def __init__(self, inner) -> None:
        super().__init__(inner)
        self.under_way = 0

    async def step(self, method, key, call, half=None):
        async def slow():
            self.under_way += 1
            try:
                for _ in range(10):
                    await asyncio.sleep(0)
                return await call()
            finally:
                self.under_way -= 1

        return await super().step(method, key, slow, half)


async def stored() -> MemoryStore:
    store = MemoryStore()
    services = over(store)
    for data in (LAYER, CONFIG):
        await services.uploads.upload(HERE, "me", Digest.of(data), chunk(data))
    for body in (SUBJECT, IMAGE):
        await services.manifests.put(HERE, push(body, Digest.of(body)), "me")
    await services.manifests.put(HERE, push(INDEX, V1, media_type=OCI_INDEX), "me")
    return store


def over(store, *, exact=True) -> Services:
    return Services.over(store, InProcessCoordinator(), files=None, memory=1024 * 1024, exact=exact)


async def undelete(services) -> None:
    await services.deletions.delete(HERE, Digest.of(IMAGE), Conditions())
    await services.reinstatements.undelete(HERE, Digest.of(IMAGE), "me")


async def undelete_all(services) -> None:
    deleted = await services.repositories.delete(HERE, "me")
    await services.repositories.undelete(HERE, deleted.since, "me")


REQUESTS = {
    "upload": lambda s: s.uploads.upload(THERE, "me", Digest.of(LAYER), chunk(LAYER)),
    "mount": lambda s: s.blobs.mount(THERE, Digest.of(LAYER), HERE),
    "push": lambda s: s.manifests.put(HERE, push(IMAGE, Tag("v2")), "me"),
    "push-index": lambda s: s.manifests.put(HERE, push(INDEX, V1, media_type=OCI_INDEX), "me"),
    "push-tags": lambda s: s.manifests.put(HERE, TAGGED, "me"),
    "pull": lambda s: s.manifests.get(HERE, V1),
    "referrers": lambda s: s.manifests.referrers_of(HERE, Digest.of(SUBJECT), (), Page()),
    "delete": lambda s: s.deletions.delete(HERE, Digest.of(INDEX), Conditions()),
    "undelete": undelete,
    "undelete-all": undelete_all,
    "expire": lambda s: s.expiry.expire(HERE, Digest.of(IMAGE), "me"),
}


@pytest.mark.parametrize("exact", [True, False], ids=["exact", "inexact"])
@pytest.mark.parametrize("request_", REQUESTS.values(), ids=REQUESTS)
async def test_no_call_goes_on_after_another_has_failed(request_, exact):
    for nth in count(1):
        store = Slow(await stored())
        services = over(store, exact=exact)
        store.fail(nth)
        try:
            await request_(services)
        except Unavailable:
            began = store.total
            assert store.under_way == 0, store.log
            for _ in range(100):
                await asyncio.sleep(0)
            assert store.total == began, store.log
        if store.total < nth:
            break
