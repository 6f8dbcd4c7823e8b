"""Environments over a store that fails: no answer is made of a part of what is there."""

from itertools import count

import pytest

from registry.service.services import Services
from registry.spec.digest import Digest
from registry.spec.errors import NameUnknown
from registry.spec.mediatype import OCI_CONFIG, OCI_LAYER, OCI_MANIFEST
from registry.spec.names import Place, Tag
from registry.spec.packages import CONDA
from storage.inprocess import InProcessCoordinator
from storage.memory import MemoryStore
from storage.ports import Unavailable
from storage.testing import FaultyStore
from tests.service.content import chunk, descriptor, encode, image, push

HERE, BASE = Place("id/env"), Place("base")
PACKAGES = b'[{"name": "numpy", "version": "2", "channel": "pypi"}]'


def over(store, memory=0):
    return Services.over(store, InProcessCoordinator(), files=None, memory=memory)


async def store_image(services, place, tag, *layers):
    for each in (tag.encode(), *layers):
        await services.uploads.upload(place, "me", Digest.of(each), chunk(each))
    body = image(*layers, config=tag.encode())
    await services.manifests.put(place, push(body, Tag(tag)), "me")
    return body


async def filled():
    store = MemoryStore()
    services = over(store)
    await store_image(services, BASE, "1", b"os")
    subject = await store_image(services, HERE, "1", b"os", b"numpy")
    await store_image(services, HERE, "2", b"os", b"numpy", b"more")
    for each in (b"{}", PACKAGES):
        await services.uploads.upload(HERE, "me", Digest.of(each), chunk(each))
    listing = encode(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "artifactType": CONDA,
            "config": descriptor(b"{}", OCI_CONFIG),
            "layers": [descriptor(PACKAGES, OCI_LAYER)],
            "subject": descriptor(subject, OCI_MANIFEST),
        }
    )
    await services.manifests.put(HERE, push(listing, Digest.of(listing)), "me")
    return store


async def everything(services):
    service = services.environments
    bases = await service.bases([("base", BASE)])
    versions = await service.versions(HERE)
    told = [
        (each.version.tag, each.base and each.base.tag, each.previous and each.previous.tag)
        for each in await service.lineages(versions, bases)
    ]
    listing = await service.listing(HERE, await service.version(HERE, Tag("1")))
    return told, await service.sharing(versions, bases), listing


async def test_what_fails_is_said_and_never_left_out():
    inner = await filled()
    wanted = await everything(over(inner))
    assert wanted[0] == [("2", "1", "1"), ("1", "1", None)]
    assert wanted[2].packages
    for number in count(1):
        store = FaultyStore(inner)
        store.fail(number)
        services = over(store)
        try:
            assert await everything(services) == wanted
        except Unavailable:
            assert await everything(services) == wanted, "the next question is answered"
        if store.total < number:
            break
    assert number > 10


async def test_what_images_say_is_read_once():
    store = FaultyStore(await filled())
    services = over(store, memory=1 << 20)
    first = await everything(services)
    before = store.total
    assert await everything(services) == first
    assert store.total - before <= 3, store.log[before:]


async def test_a_repository_that_never_was_is_unknown_and_no_base():
    services = over(MemoryStore())
    with pytest.raises(NameUnknown):
        await services.environments.versions(HERE)
    assert (await services.environments.bases([("base", BASE)])).images == []
