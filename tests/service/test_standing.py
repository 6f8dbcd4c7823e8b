"""How collection stands is told, and changes nothing."""

import pytest

from registry.spec.digest import Digest
from registry.spec.errors import BlobUnknown
from registry.spec.life import Life
from tests.service.collection import BLOBS, DIGEST, GRACE, A, B, Clock, Registry


@pytest.fixture
async def registry(monkeypatch):
    registry = Registry(Clock(monkeypatch), window=0.0)
    assert await registry.marker().begin()
    await registry.push()
    return registry


async def test_a_blob_is_live_then_condemned_then_gone(registry):
    standing, blob = registry.services.standing, BLOBS[0]
    await registry.upload(b"nothing needs it")
    other = Digest.of(b"nothing needs it")
    fate = await standing.of(A, blob)
    assert (fate.life, fate.since, fate.until) == (Life.LIVE, None, None)
    await registry.pass_time()
    fate = await standing.of(A, blob)
    assert (fate.life, list(fate.needed_by), fate.more) == (Life.LIVE, [DIGEST], False)
    fate = await standing.of(A, other)
    assert (fate.life, fate.since) == (Life.CONDEMNED, registry.clock())
    assert (fate.until, list(fate.needed_by)) == (registry.clock() + GRACE, [])
    before = dict(registry.store._objects)
    await standing.of(A, other)
    assert dict(registry.store._objects) == before, "to ask is no promise"
    with pytest.raises(BlobUnknown):
        await standing.of(B, blob)
    await registry.pass_time()
    with pytest.raises(BlobUnknown):
        await standing.of(A, other)


async def test_what_waits_is_counted(registry):
    standing = registry.services.standing
    await registry.services.candidates.flush(everything=True)
    empty = await standing.queue()
    assert (empty.due, empty.later, empty.first, empty.more) == (0, 0, None, False)
    await registry.delete()
    queue = await standing.queue()
    assert (queue.due, queue.later) == (0, 1)
    registry.clock.ahead += GRACE
    queue = await standing.queue()
    assert (queue.due, queue.later) == (1, 0)
    assert queue.first is not None
    assert queue.first < registry.clock()
