"""A registry, where its backups are kept, and what both hold, for tests of backups."""

import time

from registry.service.backup.backups import Backups
from registry.service.backup.restore import Restore
from registry.service.collection.mark import MarkRecord
from registry.service.services import Services
from registry.service.terms import Terms
from registry.spec.digest import Digest
from registry.spec.names import Place, Tag
from registry.spec.pagination import Page
from storage import keys
from storage.inprocess import InProcessCoordinator
from storage.memory import MemoryStore
from tests.service.content import chunk, push

TERMS = Terms(1000.0, 0.0, time.time, time.monotonic)


class Registry:
    """One process over a store."""

    def __init__(self, store=None, *, terms=TERMS, projects=False) -> None:
        self.store = store if store is not None else MemoryStore()
        self.coordinator = InProcessCoordinator()
        self.terms = terms
        self.projects = projects
        self.services = Services.over(
            self.store,
            self.coordinator,
            files=None,
            memory=1024 * 1024,
            allow_sparse=True,
            terms=terms,
        )

    async def push(self, place, body, *blobs, tag=None, **more):
        """Push an image; return its digest."""
        for data in blobs:
            await self.services.uploads.upload(place, "me", Digest.of(data), chunk(data))
        sent = push(body, Tag(tag) if tag else Digest.of(body), **more)
        return (await self.services.manifests.put(place, sent, "me")).digest

    async def states(self, place, tag):
        """What a tag is and was."""
        return list(await self.services.tags.histories.of(place, Tag(tag)))

    async def taken_over(self):
        """Whether replicas of a release that does not read what was pushed collect nothing."""
        return MarkRecord.decode((await self.store.get(keys.MARK)).data).reads

    async def content(self):
        """Every repository's tags, manifests and the blobs of these, all of them read."""
        found = {}
        for key in await self.store.list(keys.CATALOG, limit=10_000):
            place = keys.catalog_place(key)
            tags = (await self.services.tags.page(place, Page(None, None))).tags
            listed = await self.store.list(keys.manifests(place), limit=10_000)
            found[place] = (
                {tag: (await self.services.tags.resolve(place, Tag(tag))).target for tag in tags},
                {keys.last_segment(each) for each in listed},
                {digest: await self.read(place, digest) for digest in await self.members(place)},
            )
        return found

    async def members(self, place):
        listed = await self.store.list(keys.members_of(place), limit=10_000)
        digests = [Digest(keys.last_segment(each)) for each in listed]
        return [each for each in digests if await self.services.blobs.holds(place, each)]

    async def read(self, place, digest):
        blob = await self.services.blobs.find(place, digest)
        async with self.services.blobs.open(blob, 0, blob.size) as reader:
            data = b"".join([piece async for piece in reader])
        assert Digest.of(data) == digest
        return data

    async def backup(self, backups, *names, **more):
        return await backups.create(
            self.store, self.terms, projects=self.projects, names=names, **more
        )

    async def restore(self, backups, backup, *names, **more):
        return await self.restoring(backups).restore(backup, names, **more)

    def restoring(self, backups, **more):
        return Restore(
            self.store, self.coordinator, self.services, backups, projects=self.projects, **more
        )


def backups_in(store=None):
    """Backups in a store of their own."""
    return Backups(store if store is not None else MemoryStore(), InProcessCoordinator())


async def pool_of(backups):
    """The keys of all blobs of the backups."""
    return set(await backups.pool._store.list("blobs/", limit=100_000))


A, B, ROOT = Place("demo/env"), Place("demo/other"), Place("demo")
