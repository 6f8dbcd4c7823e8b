"""A push and a deletion of one manifest, in every order that their calls of the store can take.

With a collector beside them there are too many: of the ways that go over twice or three times, some
are taken, always the same.

The real services run over the memory store. Each of their calls waits for its turn, and turns are
given in every way that goes over to the other request up to twice, and in some of the ways that do
so three times (in all of them with MOORAGE_INTERLEAVINGS=all: a minute or two).
"""

import asyncio
import os
import random
from collections.abc import Iterator
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar

import pytest

from registry.service.manifests import Push
from registry.service.services import Services
from registry.spec.conditions import Conditions
from registry.spec.digest import Digest
from registry.spec.errors import ManifestUnknown
from registry.spec.mediatype import OCI_MANIFEST
from registry.spec.names import Place, Tag
from registry.spec.pagination import Page
from storage.coordination import Change
from storage.inprocess import InProcessCoordinator
from storage.memory import MemoryStore
from storage.testing import FaultyStore
from tests.service.collection import CONFIG, GRACE, Clock, Registry
from tests.service.content import image, push

ALL = os.environ.get("MOORAGE_INTERLEAVINGS") == "all"
SHARES = (1.0, 1.0, 1.0 if ALL else 0.04)
"""Of the ways that go over once, twice, three times, the share that is tried."""

WITH_COLLECTOR = (1.0, 1.0 if ALL else 0.03)

REPOSITORY, V1, V2 = Place("project/env"), Tag("v1"), Tag("v2")
SUBJECT = Digest.of(b"subject")
IMAGE, OTHER, ARTIFACT = image(), image(config=b"other"), image(subject=SUBJECT)

_request: ContextVar[int] = ContextVar("request")


class LosesLocks(InProcessCoordinator):
    """Writers don't exclude each other: as without Redis, or with a lock that was lost."""

    @asynccontextmanager
    async def change(self, *names, wait=10.0):
        yield Change(lambda: False)


class Turns(FaultyStore):
    """Holds each call until its request's turn."""

    def __init__(self) -> None:
        super().__init__(MemoryStore())
        self.waiting: dict[int, list[asyncio.Future]] = {}

    async def step(self, method, key, call, half=None):
        if (number := _request.get(-1)) >= 0:
            turn = asyncio.get_running_loop().create_future()
            self.waiting.setdefault(number, []).append(turn)
            await turn
        return await super().step(method, key, call, half)

    async def put_all(self, *steps, settled=True):
        """As on S3: the items of a step arrive one by one."""
        for items in steps:
            await asyncio.gather(*(self.put(key, data) for key, data in items))


async def interleave(store: Turns, requests, first: int, switches) -> list:
    """Run the requests, going over to the next one before each of the ``switches``-th calls."""

    async def run(number, request):
        _request.set(number)
        with suppress(ManifestUnknown):
            return await request
        return ManifestUnknown

    tasks = [asyncio.ensure_future(run(*each)) for each in enumerate(requests)]
    loop = asyncio.get_running_loop()
    at, call = first, 0
    while True:
        while loop._ready:  # until every request waits for its turn, or for another's lock
            await asyncio.sleep(0)
        ready = [number for number, turns in store.waiting.items() if turns]
        if not ready:
            assert all(task.done() for task in tasks), "requests wait for each other"
            return [task.result() for task in tasks]
        if call in switches or at not in ready:
            at = min(ready, key=lambda number: (number - at - 1) % len(tasks))
        store.waiting[at].pop(0).set_result(None)
        call += 1


class Schedules:
    """Which request begins, and before which calls the other one goes on, in every way."""

    def __init__(self, requests: int, shares=SHARES) -> None:
        self._shares = shares
        self._left = [(first, ()) for first in range(requests)]
        self._chance = random.Random(1)  # noqa: S311
        self._now = (0, ())
        self.tried = 0

    def __iter__(self) -> Iterator[tuple[int, tuple[int, ...]]]:
        while self._left:
            self._now = self._left.pop()
            self.tried += 1
            yield self._now

    def took(self, calls: int) -> None:
        """Tell how many calls the present way took, so that no switch comes after the last."""
        first, switches = self._now
        for call in range(switches[-1] + 1 if switches else 1, calls):
            share = self._shares[len(switches)] if len(switches) < len(self._shares) else 0.0
            if share == 1.0 or self._chance.random() < share:
                self._left.append((first, (*switches, call)))


def _here(monkeypatch):
    async def here(function, *arguments):
        return function(*arguments)

    monkeypatch.setattr(asyncio, "to_thread", here)


def services(store, coordinator) -> Services:
    return Services.over(store, coordinator(), files=None, memory=0, allow_sparse=True)


async def by_digest(registry, body):
    request = Push(Digest.of(body), (), body, OCI_MANIFEST, Conditions())
    return await registry.manifests.put(REPOSITORY, request, "me")


async def nothing_dangles(registry) -> dict[str, Digest]:
    """Every tag leads to a manifest, and a deletion of the manifest finds every tag."""
    tags = {}
    with suppress(Exception):
        for name in (await registry.tags.page(REPOSITORY, Page(None, None))).tags:
            tags[name] = (await registry.manifests.get(REPOSITORY, Tag(name))).digest
            continue
        return tags
    names = (await registry.tags.page(REPOSITORY, Page(None, None))).tags
    raise AssertionError(f"of the tags {list(names)} only {list(tags)} lead to a manifest")


@pytest.mark.parametrize("coordinator", [InProcessCoordinator, LosesLocks])
@pytest.mark.parametrize("before", ["nothing", "the same", "another", "another tag"])
async def test_a_tag_never_leads_to_a_manifest_that_is_gone(monkeypatch, coordinator, before):
    _here(monkeypatch)
    schedules = Schedules(2)
    for first, switches in schedules:
        store = Turns()
        registry = services(store, coordinator)
        await by_digest(registry, IMAGE)
        if before != "nothing":
            body = OTHER if before == "another" else IMAGE
            tag = V2 if before == "another tag" else V1
            await registry.manifests.put(REPOSITORY, push(body, tag), "me")
        setup = store.total
        pushed, deleted = await interleave(
            store,
            [
                registry.manifests.put(REPOSITORY, push(IMAGE, V1), "me"),
                registry.deletions.delete(REPOSITORY, Digest.of(IMAGE), Conditions()),
            ],
            first,
            switches,
        )
        schedules.took(store.total - setup)
        tags = await nothing_dangles(registry)
        assert pushed.digest == Digest.of(IMAGE)
        assert deleted is None
        if not switches:
            assert (tags.get(V1) == Digest.of(IMAGE)) == (first == 1), "one after the other"
        with suppress(ManifestUnknown):
            await registry.deletions.delete(REPOSITORY, Digest.of(IMAGE), Conditions())
        assert Digest.of(IMAGE) not in (await nothing_dangles(registry)).values()
    assert schedules.tried > 200


@pytest.mark.parametrize("coordinator", [InProcessCoordinator, LosesLocks])
async def test_a_referrer_is_listed_exactly_while_its_manifest_is_there(monkeypatch, coordinator):
    """Without a lock one that is gone may stay listed; one that is there is never left out."""
    _here(monkeypatch)
    digest = Digest.of(ARTIFACT)
    schedules = Schedules(2)
    for first, switches in schedules:
        store = Turns()
        registry = services(store, coordinator)
        await by_digest(registry, ARTIFACT)
        setup = store.total
        await interleave(
            store,
            [
                by_digest(registry, ARTIFACT),
                registry.deletions.delete(REPOSITORY, digest, Conditions()),
            ],
            first,
            switches,
        )
        schedules.took(store.total - setup)
        listed, _ = await registry.manifests.referrers_of(REPOSITORY, SUBJECT, (), Page(None, None))
        try:
            await registry.manifests.get(REPOSITORY, digest)
        except ManifestUnknown:
            assert not listed or coordinator is LosesLocks, (first, switches)
        else:
            assert [each["digest"] for each in listed] == [digest], (first, switches)
    assert schedules.tried > 50


@pytest.mark.parametrize("coordinator", [InProcessCoordinator, LosesLocks])
async def test_a_collector_beside_them_loses_no_tag_and_nothing_that_one_needs(
    monkeypatch, coordinator
):
    """It reads what was pushed long ago, and moves its links, while others push and delete it."""
    _here(monkeypatch)
    clock = Clock(monkeypatch)
    schedules = Schedules(3, WITH_COLLECTOR)
    stood = gone = 0
    for first, switches in schedules:
        clock.ahead = 0.0
        store = Turns()
        process = Registry(clock, store, coordinator(), memory=0)
        assert await process.marker().begin()
        await process.push(REPOSITORY, IMAGE, V2, blobs=(CONFIG,))
        await process.upload(b"nothing needs it", REPOSITORY)
        await process.services.candidates.flush(everything=True)
        clock.ahead += GRACE
        registry, setup = process.services, store.total
        pushed, deleted, collected = await interleave(
            store,
            [
                registry.manifests.put(REPOSITORY, push(IMAGE, V1), "me"),
                registry.deletions.delete(REPOSITORY, Digest.of(IMAGE), Conditions()),
                process.collector().collect(),
            ],
            first,
            switches,
        )
        schedules.took(store.total - setup)
        assert pushed.digest == Digest.of(IMAGE)
        assert deleted is None
        assert collected.failed == 0
        tags = await nothing_dangles(registry)
        assert set(tags) <= {V1}, "who deletes a manifest takes along its tags"
        await process.pass_time(3)
        assert await nothing_dangles(registry) == tags
        assert not tags or await process.holds(CONFIG, REPOSITORY), "a tag's image is not whole"
        stood, gone = stood + bool(tags), gone + (not tags)
        with suppress(ManifestUnknown):
            await registry.deletions.delete(REPOSITORY, Digest.of(IMAGE), Conditions())
        assert not await nothing_dangles(registry)
    assert min(stood, gone) > 20, (schedules.tried, stood, gone)
