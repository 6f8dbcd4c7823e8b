"""Derivation, settling, deletion and collection, in every order that their calls can take.

Turns are given as in ``test_interleavings``: in every way that goes over to another request once,
and in some of those that do so more often.
"""

from contextlib import suppress

import pytest

from registry.service.derivations import Source
from registry.service.entries import Entries
from registry.service.settling import Settling
from registry.spec.digest import Digest
from registry.spec.errors import ManifestBlobUnknown, ManifestUnknown
from storage import keys
from storage.inprocess import InProcessCoordinator
from tests.service.collection import CONFIG, LAYER, V1, A, B, Clock, Registry
from tests.service.test_interleavings import ALL, LosesLocks, Schedules, Turns, _here, interleave

BIG = Digest.of(LAYER)
SHARES = (1.0, 1.0 if ALL else 0.1)


@pytest.fixture
def clock(monkeypatch):
    _here(monkeypatch)
    return Clock(monkeypatch)


def settle(registry):
    entries = Entries(registry.store, exact=True)
    candidates = registry.services.candidates
    settling = Settling(registry.store, registry.coordinator, entries, candidates, registry.terms)
    return settling.settle(B)


async def derive(registry) -> bool:
    """Whether it was derived: not where its source, or what it brought, was deleted meanwhile."""
    with suppress(ManifestUnknown, ManifestBlobUnknown):
        await registry.services.derivations.derive(Source(A, V1), B, V1, "me")
        return True
    return False


async def prepared(clock, coordinator) -> Registry:
    clock.ahead = 0.0
    registry = Registry(clock, Turns(), coordinator(), memory=0)
    assert await registry.marker().begin()
    await registry.push(A)
    return registry


async def in_every_way(clock, coordinator, schedules, requests, *, derived=True):
    """Do the requests in each way, on an image of A that is ``derived`` to B; yield what came."""
    for way in schedules:
        registry = await prepared(clock, coordinator)
        if derived:
            await derive(registry)
        setup = registry.store.total
        ended = await interleave(registry.store, requests(registry), *way)
        schedules.took(registry.store.total - setup)
        yield registry, ended, way


def delete(registry):
    return registry.services.blobs.delete(B, BIG)


@pytest.mark.parametrize("coordinator", [InProcessCoordinator, LosesLocks])
async def test_who_settles_late_brings_back_nothing_that_was_deleted_since(clock, coordinator):
    schedules = Schedules(3, SHARES)

    def requests(registry):
        return [settle(registry), delete(registry), settle(registry)]

    async for registry, _, way in in_every_way(clock, coordinator, schedules, requests):
        assert not await registry.holds(LAYER, B), way
        assert await registry.holds(CONFIG, B), way
        assert not await registry.keys(keys.MOUNTS)
    assert schedules.tried > 50


async def test_who_asks_while_it_is_settled_is_told_that_it_is_there(clock):
    schedules = Schedules(2, SHARES)

    def requests(registry):
        return [registry.services.blobs.holds(B, BIG), settle(registry)]

    async for _, (held, _), way in in_every_way(clock, InProcessCoordinator, schedules, requests):
        assert held, way
    assert schedules.tried > 20


@pytest.mark.parametrize("coordinator", [InProcessCoordinator, LosesLocks])
async def test_a_derivation_beside_a_deletion_comes_before_or_after_it(clock, coordinator):
    """Whichever it was, that does not change when it is settled."""
    schedules = Schedules(3, SHARES)
    held = 0

    def requests(registry):
        return [derive(registry), delete(registry), settle(registry)]

    async for registry, _, way in in_every_way(clock, coordinator, schedules, requests):
        before = await registry.holds(LAYER, B)
        await settle(registry)
        assert await registry.holds(LAYER, B) == before, way
        assert await registry.holds(CONFIG, B), way
        held += before
    assert 10 < held < schedules.tried - 10


@pytest.mark.parametrize("coordinator", [InProcessCoordinator, LosesLocks])
async def test_no_collector_takes_what_a_derivation_brought(clock, coordinator):
    """Its source is deleted, and in the end nothing else holds what it needs."""
    schedules = Schedules(3, SHARES)
    derived = 0

    def requests(registry):
        return [derive(registry), registry.delete(A), registry.collector().collect()]

    ways = in_every_way(clock, coordinator, schedules, requests, derived=False)
    async for registry, (made, *_), way in ways:
        await registry.pass_time(8)
        assert not await registry.holds(LAYER, A), "the collector works"
        assert await registry.holds(LAYER, B) == made, way
        assert not made or await registry.pulls(B)
        derived += made
    assert 10 < derived < schedules.tried
