"""A collector that is struck at any of its calls breaks nothing, and leaves nothing to itself."""

from contextlib import suppress
from itertools import count

import pytest

from registry.spec.digest import Digest
from storage.memory import MemoryStore
from storage.ports import Unavailable
from storage.testing import FaultyStore
from tests.service.collection import DIGEST, GRACE, A, B, Clock, Registry
from tests.service.content import image

ALONE = b"alone" * 40_000
"""A layer that only the image has that is deleted."""


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


async def scene(clock, exact):
    """Two images that are deleted, one with a layer that stays; a blob that nothing needs."""
    registry = Registry(clock, FaultyStore(MemoryStore()), window=0.0, exact=exact)
    assert await registry.marker().begin()
    await registry.push(A)
    await registry.push(B)
    await registry.push(B, image(ALONE), "alone", (ALONE,))
    await registry.upload(b"never needed" * 10_000, A)
    await registry.services.candidates.flush()  # the bytes that were there twice
    await registry.delete(A)
    await registry.delete(B, Digest.of(image(ALONE)))
    return registry


async def passes(registry, rounds):
    """Let time go by; what a pass raises ends that pass."""
    for _ in range(rounds):
        with suppress(Unavailable):
            await registry.services.candidates.flush(everything=True)
        registry.clock.ahead += GRACE
        with suppress(Unavailable):
            await registry.collector().collect()


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("when", ["before", "after", "half"])
async def test_struck_at_any_call(clock, when, exact):
    for nth in count(1):
        registry = await scene(clock, exact)
        begun = registry.store.total
        registry.store.fail(nth, when=when)
        await passes(registry, 6)
        if registry.store.total - begun < nth:
            break
        assert await registry.pulls(B, DIGEST), nth
        await passes(registry, 6)
        assert await registry.pulls(B, DIGEST), nth
        left = await registry.keys("data/", "gc/due/")
        assert len(left) == 1, (nth, left)
        assert len(await registry.keys("blobs/")) == 2, nth
        assert len(await registry.keys("refs/")) == 2, nth
        assert await registry.keys(f"repos/{A}!/") == [], nth
    assert nth > 50
