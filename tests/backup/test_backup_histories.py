"""Random histories with a backup in between: every tag that it has was so while it was read, every
tag that stood is in it, and each pulls; whatever was deleted and collected meanwhile."""

import asyncio
from types import SimpleNamespace
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st

from registry.service.backup import held
from registry.spec.conditions import Conditions
from registry.spec.digest import Digest
from registry.spec.errors import ManifestUnknown
from registry.spec.names import Place, Tag
from storage.memory import MemoryStore
from storage.testing import Crash, FaultyStore
from tests.backup.keeper import Registry, backups_in
from tests.service.collection import GRACE
from tests.service.collection import Registry as Collected
from tests.service.content import chunk, image, push

PLACES = [Place("demo/env"), Place("demo"), Place("other/env")]
TAGS = [Tag("v1"), Tag("v2")]
LAYERS = [b"one", b"two" * 30_000, b"three" * 30_000]
IMAGES = {Digest.of(image(layer)): layer for layer in LAYERS}

places, tags, digests = map(st.sampled_from, (PLACES, TAGS, sorted(IMAGES)))
operations = st.one_of(
    st.tuples(st.just("push"), places, tags, digests),
    st.tuples(st.just("untag"), places, tags),
    st.tuples(st.just("delete"), places, digests),
    st.tuples(st.just("ages")),
)
histories = st.lists(operations, max_size=8)
during = st.lists(st.tuples(st.integers(0, 40), operations), max_size=6)


class Clock:
    """Unix time that goes on when something happens."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now

    async def pause(self, seconds: float) -> None:
        until = self.now + seconds
        while self.now < until:
            await asyncio.sleep(0)


class History:
    """Clients of a registry, its collector, and what each tag was from when on."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.registry = Collected(clock, window=0.0)
        self.states: dict[tuple[Place, Tag], list[tuple[float, Digest | None]]] = {}

    async def happens(self, operation) -> None:
        kind, *rest = operation
        self.clock.now += 0.001
        await getattr(self, kind)(*rest)

    def _is(self, place: Place, tag: Tag, digest: Digest | None) -> None:
        self.states.setdefault((place, tag), []).append((self.clock.now, digest))

    async def push(self, place, tag, digest) -> None:
        services, layer = self.registry.services, IMAGES[digest]
        for data in (layer, b"{}"):
            await services.uploads.upload(place, "me", Digest.of(data), chunk(data))
        await services.manifests.put(place, push(image(layer), tag), "me")
        self._is(place, tag, digest)

    async def untag(self, place, tag) -> None:
        try:
            await self.registry.services.deletions.delete(place, tag, Conditions())
        except ManifestUnknown:
            return
        self._is(place, tag, None)

    async def delete(self, place, digest) -> None:
        try:
            await self.registry.services.deletions.delete(place, digest, Conditions())
        except ManifestUnknown:
            return
        for (where, tag), states in self.states.items():
            if where == place and states[-1][1] == digest:
                self._is(place, tag, None)

    async def ages(self) -> None:
        """Four graces go by, with a collector at work: what nothing needs is gone for good."""
        for _ in range(20):
            self.clock.now += GRACE / 5
            for _ in range(60):
                await asyncio.sleep(0)
            await self.registry.services.candidates.flush(everything=True)
            await self.registry.collect()

    def was(self, place, tag, began, read) -> set[Digest | None]:
        """All that the tag was at some moment from ``began`` to ``read``."""
        states = [(0.0, None), *self.states.get((place, tag), [])]
        ends = [*(at for at, _ in states[1:]), float("inf")]
        return {
            digest
            for (at, digest), end in zip(states, ends, strict=True)
            if at <= read and end > began
        }


class Interleaved(FaultyStore):
    """Lets things happen before calls of the one who uses it, by the calls' numbers."""

    def __init__(self, inner, history, plan) -> None:
        super().__init__(inner)
        self._history = history
        self._plan = sorted(plan, key=lambda each: each[0])
        self._busy = False

    async def step(self, method, key, call, half=None):
        """The call waits for what happens before it; those of other tasks do not."""
        while not self._busy and self._plan and self._plan[0][0] <= self.total:
            self._busy = True
            await self._history.happens(self._plan.pop(0)[1])
            self._busy = False
        return await super().step(method, key, call, half)


async def backed_up(history, before, plan, crash, kept):
    """Let things happen before and during a backup; return it, or the next if it crashes."""
    terms = history.registry.terms
    assert await history.registry.marker().begin()
    for operation in before:
        await history.happens(operation)
    store = Interleaved(history.registry.store, history, plan)
    if crash:
        store.crash(crash)
    try:
        return await Registry(store, terms=terms).backup(backups_in(kept))
    except Crash:
        return await Registry(history.registry.store, terms=terms).backup(backups_in(kept))


async def run(before, plan, crash):
    clock = Clock()
    history, kept = History(clock), MemoryStore()
    with (
        patch.object(held, "_pause", clock.pause),
        patch("storage.memory.time", clock),
        patch("registry.service.entries.time", SimpleNamespace(monotonic=clock)),
    ):
        backup = await backed_up(history, before, plan, crash, kept)
    backups, other = backups_in(kept), Registry()
    assert backup.summary.missing == 0
    assert (await other.restore(backups, backup)).failed == 0
    content = await other.content()
    for place in PLACES:
        found, manifests, blobs = content.get(place, ({}, set(), {}))
        for tag in TAGS:
            allowed = history.was(place, tag, backup.summary.began, backup.summary.read)
            assert found.get(tag) in allowed
            if found.get(tag):
                assert found[tag] in manifests
                assert IMAGES[found[tag]] in blobs.values()


@settings(max_examples=120, deadline=None)
@given(histories, during, st.none() | st.integers(1, 60))
def test_a_backup_holds_what_stood_while_it_was_read(before, plan, crash):
    asyncio.run(run(before, plan, crash))


def test_an_image_that_is_deleted_and_collected_while_it_waits_is_copied():
    """The longest wait: all that was read is gone for good, but for what the backup holds."""
    before = [("push", PLACES[0], TAGS[0], digest) for digest in IMAGES]
    gone = [("delete", PLACES[0], digest) for digest in IMAGES]
    for number in range(12, 40, 4):
        plan = [(number, each) for each in (*gone, ("ages",))]
        asyncio.run(run(before, plan, None))
