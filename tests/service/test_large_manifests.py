"""Large manifests: whoever reads one does so beside the event loop, and few are read at once."""

import asyncio
import threading

import msgspec
import pytest

from registry.service import referrers
from registry.service.images import CHECKS
from registry.service.scrub.scrubber import Scrubber
from registry.spec import manifest as grammar
from registry.spec.conditions import Conditions
from registry.spec.digest import Digest
from registry.spec.manifest import MAX_SIZE
from registry.spec.mediatype import OCI_INDEX, OCI_MANIFEST
from registry.spec.names import Tag
from registry.spec.pagination import Page
from storage import keys
from storage.memory import MemoryStore
from storage.testing import FaultyStore
from tests.backup.keeper import Registry as Kept
from tests.backup.keeper import backups_in
from tests.imports.old import Tree
from tests.imports.test_import_tree import importing
from tests.service.collection import CONFIG, LAYER, A, B, Clock, Registry
from tests.service.content import descriptor, encode, image, push

V1 = Tag("v1")
LARGE = 1_000_000


def largest(document: dict[str, object]) -> bytes:
    """The document with an annotation that makes it as large as a manifest may be."""
    rest = len(encode({**document, "annotations": {"text": ""}}))
    body = encode({**document, "annotations": {"text": "x" * (MAX_SIZE - rest)}})
    assert len(body) == MAX_SIZE
    return body


def index(digest: Digest) -> bytes:
    child = {"mediaType": OCI_MANIFEST, "digest": digest, "size": MAX_SIZE}
    return largest({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [child]})


IMAGE = largest(msgspec.json.decode(image(LAYER)))
DIGEST = Digest.of(IMAGE)
REFERRER = largest(
    {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": "application/vnd.example",
        "config": descriptor(CONFIG, "application/vnd.oci.empty.v1+json"),
        "layers": [],
        "subject": {"mediaType": OCI_MANIFEST, "digest": DIGEST, "size": MAX_SIZE},
    }
)
REFERRER_DIGEST = Digest.of(REFERRER)


class Threads:
    """Counts large documents that are worked on where the loop runs, and beside it."""

    def __init__(self, monkeypatch) -> None:
        self._loop = threading.get_ident()
        self._monkeypatch = monkeypatch
        self.beside = 0
        self.inline: list[str] = []

    def watch(self, owner, name, wrap=lambda call: call) -> None:
        call = getattr(owner, name)

        def watched(data, *arguments, **more):
            if len(data) > LARGE:
                if threading.get_ident() == self._loop:
                    self.inline.append(name)
                else:
                    self.beside += 1
            return call(data, *arguments, **more)

        self._monkeypatch.setattr(owner, name, wrap(watched))


@pytest.fixture
def threads(monkeypatch):
    threads = Threads(monkeypatch)
    threads.watch(grammar, "parse")
    threads.watch(msgspec.json, "decode")
    threads.watch(Digest, "of", staticmethod)
    yield threads
    assert threads.beside
    assert threads.inline == []


@pytest.fixture
async def registry(monkeypatch):
    registry = Registry(Clock(monkeypatch))
    for data in (LAYER, CONFIG):
        await registry.upload(data)
    return registry


@pytest.fixture
def tree(tmp_path):
    Tree(tmp_path).push("demo/env", IMAGE, LAYER, CONFIG, tag="v1")
    return tmp_path


async def test_a_push_a_deletion_and_having_it_back(threads, registry):
    await registry.push(body=IMAGE, blobs=())
    await registry.delete(reference=DIGEST)
    await registry.services.reinstatements.undelete(A, DIGEST, "me")
    await registry.services.deletions.delete(A, V1, Conditions(), "me")
    assert await registry.services.expiry.expire(A, DIGEST, "me")
    assert threads.beside >= 5


@pytest.mark.parametrize("old", [False, True], ids=["entered", "fallback"])
async def test_a_list_of_referrers(threads, registry, old):
    manifests = registry.services.manifests
    await registry.push(body=IMAGE, blobs=())
    await registry.push(body=REFERRER, tag=Tag("signed"), blobs=())
    if old:
        tag = Tag(f"sha256-{DIGEST.hex}")
        await manifests.put(A, push(index(REFERRER_DIGEST), tag, media_type=OCI_INDEX), "me")
    found, _ = await manifests.referrers_of(A, DIGEST, (), Page(None, None))
    assert [each["digest"] for each in found] == [REFERRER_DIGEST]


async def test_a_collection_and_a_full_mark(threads, registry):
    assert await registry.marker().begin()
    await registry.push(body=IMAGE, blobs=())
    await registry.marker().mark()
    await registry.push(body=IMAGE, tag=Tag("v2"), blobs=())
    await registry.upload(b"not needed")
    await registry.pass_time(2)
    assert await registry.holds(LAYER)


async def test_a_scrub(threads, registry):
    await registry.push(body=IMAGE, blobs=())
    scrubber = Scrubber(registry.store, registry.coordinator, registry.terms, lambda _: None)
    await scrubber.scrub()


async def test_what_is_shown_of_images(threads, registry):
    await registry.push(body=IMAGE, blobs=())
    await registry.services.environments.versions(A)
    await registry.services.configs.platforms(A, DIGEST)


async def test_a_backup_and_its_restore(threads):
    one, backups = Kept(), backups_in()
    await one.push(A, IMAGE, LAYER, CONFIG, tag="v1")
    await one.push(B, index(DIGEST), tag="all", media_type=OCI_INDEX)
    done = await Kept().restore(backups, await one.backup(backups))
    assert (done.manifests, done.failed) == (2, 0)


async def test_an_import(tree, threads):
    with importing(tree, MemoryStore()) as (_, importer):
        done = await importer.run()
    assert (done.manifests, done.failed) == (1, 0)


async def test_a_page_of_large_referrers_takes_no_more_of_them_than_are_read_at_once(monkeypatch):
    """The page is full with two of forty; each may be as large as a manifest."""
    monkeypatch.setattr(referrers, "PAGE_BYTES", 1000)
    store, subject = FaultyStore(MemoryStore()), Digest.of(b"subject")
    listed = referrers.Referrers(store)
    for number in range(40):
        digest = Digest.of(b"%d" % number)
        notes = {"digest": digest, "annotations": {"text": "x" * 400}}
        await store.put(*listed.entry(A, subject, digest, notes))
    page, read = Page(None, None), 0
    while True:
        store.log.clear()
        found = await listed.page(A, subject, (), page, {})
        read += len(found.descriptors)
        assert [method for method, _ in store.log].count("get") <= 8
        if found.last is None:
            break
        page = Page(None, found.last)
    assert read == 40


async def test_of_what_a_fallback_tag_lists_no_more_is_looked_at_than_a_page_takes():
    """An index may list ten thousand; whoever asks for a page may not make that many requests."""
    store, subject = FaultyStore(MemoryStore()), Digest.of(b"subject")
    digests = sorted(Digest.of(b"%d" % number) for number in range(300))
    old = {digest: {"digest": digest} for digest in digests}
    gone = set(digests[5::7])
    for digest in old.keys() - gone:
        await store.put(keys.manifest(A, digest), b"")
    page, seen = Page(50, None), []
    while True:
        store.log.clear()
        found = await referrers.Referrers(store).page(A, subject, (), page, old)
        seen += [each["digest"] for each in found.descriptors]
        assert [method for method, _ in store.log].count("stat") <= 80
        if found.last is None:
            break
        page = Page(50, found.last)
    assert seen == [digest for digest in digests if digest not in gone]
    store.log.clear()
    assert not (await referrers.Referrers(store).page(A, subject, ["x/y"], Page(), old)).descriptors
    assert {method for method, _ in store.log} == {"list"}


class Crowded(MemoryStore):
    """Tells how many looks at objects are under way at the most."""

    def __init__(self) -> None:
        super().__init__()
        self.under_way = self.most = 0

    async def stat(self, key):
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        await asyncio.sleep(0)
        self.under_way -= 1
        return await super().stat(key)


async def test_however_many_images_an_index_has_few_are_looked_at_at_once(monkeypatch):
    registry = Registry(Clock(monkeypatch), store := Crowded())
    for data in (LAYER, CONFIG):
        await registry.upload(data)
    children = []
    for number in range(CHECKS * 4):
        body = encode({**msgspec.json.decode(image(LAYER)), "annotations": {"n": str(number)}})
        await registry.push(body=body, tag=Digest.of(body), blobs=())
        children.append(descriptor(body, OCI_MANIFEST))
    listing = encode({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": children})
    await registry.services.manifests.put(A, push(listing, V1, media_type=OCI_INDEX), "me")
    assert 1 < store.most <= CHECKS
