"""A project with limits, for tests of the services: several processes over one store."""

import asyncio
import random
import time

import msgspec

from registry.service.quotas.terms import QuotaTerms
from registry.service.records import Pointer, UploadRecord
from registry.service.services import Services
from registry.spec.digest import Digest
from registry.spec.names import Place
from registry.spec.quota import KINDS, Account, Amounts, Limits
from registry.spec.upload import State
from storage import keys
from storage.inprocess import InProcessCoordinator
from storage.memory import MemoryStore
from storage.testing import FaultyStore
from tests.service.content import chunk

PROJECT = "project"
REPOSITORY, OTHER = Place("project/env"), Place("project/other")


class Steady:
    """The time, as far as the process runs: where a busy machine keeps it waiting, it stands.

    What was begun in time would else be under way for longer than the margin.
    """

    def __init__(self) -> None:
        self.now = self.seen = time.time()

    def __call__(self) -> float:
        seen = time.time()
        self.now += min(max(seen - self.seen, 0.0), 0.01)
        self.seen = seen
        return self.now


QUICK = QuotaTerms(settle=0.02, patience=0.15, margin=0.5, life=2.0, clock=Steady())


def process(store, coordinator=None, terms: QuotaTerms = QUICK, **more) -> Services:
    """The services of one process."""
    coordinator = coordinator or InProcessCoordinator()
    return Services.over(
        store, coordinator, files=None, memory=0, projects=True, quota_terms=terms, **more
    )


async def limited(store, **limits: int) -> None:
    """Give the project limits, before anything is in it."""
    await process(store).quotas.begin(PROJECT, Limits(**limits))


async def push_blob(services: Services, data: bytes, repository: Place = REPOSITORY) -> None:
    await services.uploads.upload(repository, "me", Digest.of(data), chunk(data))


async def in_parts(services: Services, data: bytes, cut: int) -> str:
    """Push with POST, PATCH, PUT; return the session."""
    uploads = services.uploads
    session = (await uploads.start(REPOSITORY, "me")).session
    await uploads.append(REPOSITORY, session, "me", chunk(data[:cut]))
    await uploads.finish(REPOSITORY, session, "me", Digest.of(data), chunk(data[cut:]))
    return session


async def account(services: Services) -> Account:
    found = await services.quotas.find(PROJECT)
    assert found is not None
    return found


async def settled(*processes: Services) -> Amounts:
    """What is used, once nobody holds a share any more."""
    for each in processes:
        await each.quotas.settle()
        await each.quotas.settle()
    found = await account(processes[0])
    assert not any(share.held for share in found.shares.values())
    return found.used


async def stored(store) -> Amounts:
    """What a count finds."""
    services = process(store)
    counted = await services.quotas.counting.of(PROJECT)
    assert counted is not None
    return counted.account.used


def truth(store: MemoryStore) -> Amounts:
    """What the store holds of the project, read in one moment, and not by the code under test."""
    found = Amounts()
    for key, each in store._objects.items():
        parts = key.split("/")
        if parts[0] == "uploads":
            record = UploadRecord.decode(each.data)
            # Of a marked one nobody can tell whether its bytes are a blob's already.
            if record.state is State.OPEN:
                found += Amounts(bytes=record.charged)
        elif parts[0] == "catalog":
            found += Amounts(repositories=1)
        elif parts[0] == "repos":
            kind = key.partition("!/")[2].partition("/")[0]
            if kind == "tags":
                found += Amounts(tags=1)
            elif kind == "manifests":
                found += Amounts(bytes=len(each.data))
            elif kind == "blobs" and b'"deleting"' not in each.data:
                pointer = store._objects[keys.pointer(Digest(parts[-1]))]
                found += Amounts(bytes=Pointer.unpack(pointer.data)[0].size)
    return found


def paid(store: MemoryStore) -> Amounts:
    """What counts, as the account has it at this moment."""
    found = store._objects[keys.quota(PROJECT)]
    return msgspec.json.decode(found.data, type=Account).total


class Jittery(FaultyStore):
    """Each call takes a little while, now and then a long one, before and after its effect.

    After every call what is stored has to be paid for, and within the limits.
    """

    def __init__(self, inner: MemoryStore, chance: random.Random, limits: Limits) -> None:
        super().__init__(inner)
        self.chance = chance
        self.limits = limits
        self.broken = 0.0

    async def step(self, method, key, call, half=None):
        await self.pause()
        if self.chance.random() < self.broken:
            self.fail(1, when=self.chance.choice(["before", "after", "half"]))
        try:
            return await super().step(method, key, call, half)
        finally:
            self.check(f"{method} {key}")
            await self.pause()

    async def pause(self) -> None:
        for _ in range(self.chance.choice([0, 0, 0, 1, 3])):
            await asyncio.sleep(0)
        if self.chance.random() < 0.02:
            await asyncio.sleep(0.01)

    def check(self, what: str) -> None:
        held, total = truth(self.inner), paid(self.inner)
        assert total.covers(held), f"after {what}: {held} is stored, {total} paid for"
        for kind in KINDS:
            most = getattr(self.limits, kind)
            assert most is None or getattr(held, kind) <= most, f"after {what}: {held}"
