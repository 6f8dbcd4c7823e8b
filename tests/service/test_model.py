"""The services against a reference model: any sequence of requests gives what the model says."""

import asyncio

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from auth.identity import ANONYMOUS
from auth.policy import OpenPolicy
from registry.service.services import Services
from registry.spec.conditions import Conditions
from registry.spec.digest import Digest
from registry.spec.errors import (
    BlobUnknown,
    ManifestBlobUnknown,
    ManifestUnknown,
    NameUnknown,
    RegistryError,
)
from registry.spec.names import Place, Tag
from registry.spec.pagination import Page
from storage.inprocess import InProcessCoordinator
from storage.memory import MemoryStore
from tests.service.content import chunk, image, push

REPOSITORIES = [Place(name) for name in ("a", "a/b", "a-b", "a.b/c")]
BLOBS = [b"{}", b"", b"layer one", b"x" * 70_000]
TAGS = [Tag(name) for name in ("1", "1.0", "10", "latest", "1-a")]

repositories = st.sampled_from(REPOSITORIES)
blobs = st.sampled_from(BLOBS)
tags = st.sampled_from(TAGS)
IMAGES = {Digest.of(image(layer)): layer for layer in BLOBS}
digests = st.sampled_from(sorted(IMAGES))


async def every_place(place: Place) -> bool:
    return True


class Registry(RuleBasedStateMachine):
    """What the registry is to its clients: sets of blobs, manifests and tags per repository."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        store = MemoryStore()
        self.services = Services.over(store, InProcessCoordinator(), files=None, memory=1024 * 1024)
        self.blobs: set[tuple[str, Digest]] = set()
        self.manifests: set[tuple[str, Digest]] = set()
        self.tags: dict[tuple[str, str], Digest] = {}
        self.known: set[str] = set()

    def teardown(self) -> None:
        self.loop.close()

    def run(self, coroutine):
        return self.loop.run_until_complete(coroutine)

    def refused(self, coroutine) -> type[RegistryError] | None:
        try:
            self.run(coroutine)
        except RegistryError as error:
            return type(error)
        return None

    @rule(repository=repositories, data=blobs, whole=st.booleans())
    def upload(self, repository, data, whole):
        digest = Digest.of(data)
        uploads = self.services.uploads
        if whole:
            self.run(uploads.upload(repository, "me", digest, chunk(data)))
        else:
            session = self.run(uploads.start(repository, "me")).session
            half = len(data) // 2
            self.run(uploads.append(repository, session, "me", chunk(data[:half])))
            assert self.run(uploads.status(repository, session, "me")).offset == half
            self.run(uploads.finish(repository, session, "me", digest, chunk(data[half:])))
        self.blobs.add((repository, digest))

    @rule(repository=repositories, source=st.none() | repositories, data=blobs)
    def mount(self, repository, source, data):
        digest = Digest.of(data)
        mount = self.services.blobs
        holders = {name for name, held in self.blobs if held == digest}
        if source is None:
            mounted = self.run(mount.mount_any(repository, digest, every_place))
            expected = repository.tenant in {name.tenant for name in holders}
        else:
            mounted = self.run(mount.mount(repository, digest, source))
            expected = source in holders
        assert (mounted is not None) == expected
        if expected:
            self.blobs.add((repository, digest))

    @rule(repository=repositories, data=blobs)
    def delete_blob(self, repository, data):
        digest = Digest.of(data)
        expected = None if (repository, digest) in self.blobs else BlobUnknown
        assert self.refused(self.services.blobs.delete(repository, digest)) is expected
        self.blobs.discard((repository, digest))

    @rule(repository=repositories, digest=digests, tag=tags)
    def put_manifest(self, repository, digest, tag):
        layer = IMAGES[digest]
        needed = {(repository, Digest.of(layer)), (repository, Digest.of(b"{}"))}
        expected = None if needed <= self.blobs else ManifestBlobUnknown
        request = self.services.manifests.put(repository, push(image(layer), tag), "me")
        assert self.refused(request) is expected
        if expected is None:
            self.manifests.add((repository, digest))
            self.tags[repository, tag] = digest
            self.known.add(repository)

    @rule(repository=repositories, digest=digests)
    def delete_manifest(self, repository, digest):
        expected = None if (repository, digest) in self.manifests else ManifestUnknown
        request = self.services.deletions.delete(repository, digest, Conditions())
        assert self.refused(request) is expected
        self.manifests.discard((repository, digest))
        self.tags = {
            key: target
            for key, target in self.tags.items()
            if key[0] != repository or target != digest
        }

    @rule(repository=repositories, tag=tags)
    def delete_tag(self, repository, tag):
        expected = None if (repository, tag) in self.tags else ManifestUnknown
        request = self.services.deletions.delete(repository, tag, Conditions())
        assert self.refused(request) is expected
        self.tags.pop((repository, tag), None)

    @rule(repository=repositories)
    def delete_repository(self, repository):
        held = [digest for name, digest in self.manifests if name == repository]
        tagged = [tag for name, tag in self.tags if name == repository]
        try:
            done = self.run(self.services.repositories.delete(repository, "me"))
        except NameUnknown:
            assert repository not in self.known
            return
        assert repository in self.known
        assert (done.manifests, done.tags) == (len(held), len(tagged))
        self.manifests -= {(repository, digest) for digest in held}
        for tag in tagged:
            del self.tags[repository, tag]
        self.known.discard(repository)

    @rule(repository=repositories, data=blobs)
    def read_blob(self, repository, data):
        digest = Digest.of(data)
        held = self.run(self.services.blobs.holds(repository, digest))
        assert held == ((repository, digest) in self.blobs)

    @rule(repository=repositories, tag=tags)
    def read_tag(self, repository, tag):
        target = self.tags.get((repository, tag))
        if target is None:
            request = self.services.manifests.get(repository, tag)
            assert self.refused(request) is ManifestUnknown
        else:
            stored = self.run(self.services.manifests.get(repository, tag))
            assert (stored.digest, stored.data) == (target, image(IMAGES[target]))

    @rule(repository=repositories, n=st.none() | st.integers(0, 4), last=st.none() | tags)
    def list_tags(self, repository, n, last):
        if repository not in self.known:
            request = self.services.tags.page(repository, Page(n, last))
            assert self.refused(request) is NameUnknown
            return
        found = self.run(self.services.tags.page(repository, Page(n, last)))
        names = sorted(tag for name, tag in self.tags if name == repository)
        after = [name for name in names if last is None or name > last]
        assert list(found.tags) == after[:n]

    @invariant()
    def the_catalog_lists_every_repository(self):
        everything = OpenPolicy().visible(ANONYMOUS, "")
        found = self.run(self.services.catalog.page(Page(None, None), everything))
        assert list(found.repositories) == sorted(self.known)


TestRegistry = Registry.TestCase
TestRegistry.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
