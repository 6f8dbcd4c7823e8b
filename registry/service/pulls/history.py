"""The pull history: what a process counted goes to the store in batches; records are read back."""

import asyncio
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from registry.service.projects.kept import Leaf, Records
from registry.service.pulls.tally import MOST, Counted, Tallies, shown
from registry.service.records import Record
from registry.spec.digest import Digest
from registry.spec.names import Place, Reference
from storage import keys
from storage.ports import ObjectStore

LARGEST: Final = 5000
"""Most tags and digests in one batch: with names of any length it stays below ``MAX_VALUE``."""

_WRITES: Final = 16


class Pull(Record, frozen=True, array_like=True):
    """What one process counted of one tag or digest in one interval. ``last`` in Unix seconds."""

    place: str
    reference: str
    count: int
    last: float
    by: str
    digest: str


class PullBatch(Record, frozen=True):
    """What one process counted in one interval, or a part of it."""

    pulls: tuple[Pull, ...]


class PulledRecord(Record, frozen=True):
    """The history of one tag or digest: ``count`` pulls, the ``last`` one (Unix seconds) ``by``.

    ``digest`` is what that got. ``merged`` names the batches that were added last, so that none is
    added twice if the compactor is broken off.
    """

    count: int
    last: float
    by: str
    digest: str
    merged: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Pulled:
    """The history of one tag or digest, as in ``PulledRecord``."""

    reference: str
    count: int
    last: float
    by: str
    digest: str


class PullHistory:
    """Counts pulls, and tells of them.

    A crash loses what the process counted since its last flush, and nothing else. What it tells
    is behind by up to two intervals, since what was flushed has yet to be merged.
    """

    def __init__(
        self, store: ObjectStore, *, most: int = MOST, clock: Callable[[], float] = time.time
    ) -> None:
        """Keep it in ``store``. Nothing is counted until ``counting`` is set."""
        self.counting = False
        """Whether pulls are counted: somebody has to flush what is."""

        self.tallies = Tallies(most, clock)
        self._store = store
        self._clock = clock
        self._records = Records(store, PulledRecord)
        self._unwritten: list[tuple[str, PullBatch]] = []

    def note(self, place: Place, reference: Reference, digest: Digest, by: str) -> None:
        """``by`` pulled the manifest ``digest`` by ``reference``. Costs an addition in memory."""
        if self.counting:
            self.tallies.note(place, reference, digest, by)

    async def last(self, place: Place, reference: Reference) -> float | None:
        """When the tag or the digest was last pulled by this very name (Unix seconds).

        ``None``: never, as far as is known. Pulls of other processes show up to two intervals
        late. A pull by tag is none of the digest that the tag leads to. ``StorageError``.
        """
        kept = await self._records.find(keys.pulled(place, reference))
        times = (kept.record.last if kept else None, self.tallies.last(place, reference))
        return max((each for each in times if each is not None), default=None)

    async def of(self, place: Place, reference: Reference) -> Pulled | None:
        """The history of one tag or digest as it was written down; ``None`` for none."""
        kept = await self._records.find(keys.pulled(place, reference))
        return None if kept is None else _pulled(reference, kept.record)

    async def page(self, place: Place, after: str, limit: int) -> Leaf[Pulled]:
        """Return the history of tags and digests of a repository after the name ``after``."""
        prefix = keys.all_pulled(place)
        leaf = await self._records.page(prefix, prefix + after if after else "", limit)
        found = [_pulled(keys.last_segment(each.key), each.record) for each in leaf.items]
        return Leaf(found, leaf.more)

    async def flush(self) -> int:
        """Write down what was counted; return how many objects that took.

        ``StorageError``: what could not be written is kept, and written the next time. Not to be
        called by two tasks at once.
        """
        if not self._unwritten:
            # What is still to be written is not joined by more: memory stays bounded.
            self._unwritten = list(_batches(self.tallies.take(), self._clock()))
        written = 0
        while self._unwritten:
            some = self._unwritten[:_WRITES]
            await self._store.put_all([(key, batch.encode()) for key, batch in some])
            del self._unwritten[: len(some)]
            written += len(some)
        return written


def _pulled(reference: str, record: PulledRecord) -> Pulled:
    return Pulled(reference, record.count, record.last, record.by, record.digest)


def _batches(counted: Counted, now: float) -> Sequence[tuple[str, PullBatch]]:
    tenants: dict[str, list[Pull]] = {}
    for (place, reference), tally in counted.items():
        pull = Pull(place, reference, tally.count, tally.last, shown(tally.by), tally.digest)
        tenants.setdefault(place.tenant, []).append(pull)
    return [
        (
            keys.pull_batch(tenant, int(now * 1000), secrets.token_hex(8)),
            PullBatch(tuple(pulls[first : first + LARGEST])),
        )
        for tenant, pulls in tenants.items()
        for first in range(0, len(pulls), LARGEST)
    ]


async def flushing(
    history: PullHistory, interval: float, failed: Callable[[Exception], object]
) -> None:
    """Flush every ``interval`` seconds, and sooner where much was counted; never ends."""
    soon = asyncio.Event()
    history.tallies.nearly_full = soon.set
    history.counting = True
    while True:
        try:
            async with asyncio.timeout(interval):
                await soon.wait()
        except TimeoutError:
            pass
        soon.clear()
        try:
            await history.flush()
        except Exception as error:  # noqa: BLE001 -- told, and tried again
            failed(error)
            await asyncio.sleep(1.0)
