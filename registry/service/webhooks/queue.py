"""What is to be told, in the store: for each webhook a queue of its own, and its dead letters.

A key holds when it is due, so a queue is read in that order, and what is not due is not read. Each
webhook has its own queue so that one that takes nothing costs the others nothing.
"""

import secrets
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from registry.service.listing import every_key
from registry.service.projects.kept import Leaf, Records
from registry.service.webhooks.records import DeliveryRecord
from storage import keys
from storage.ports import Items, ObjectStore

EVENTS: Final = 100
"""Most events in one delivery."""

_PAGE: Final = 200
_SWEPT: Final = 50


@dataclass(frozen=True, slots=True)
class Delivery:
    """A delivery that waits, or is dead. ``due`` in Unix seconds: then it is tried (again)."""

    id: str
    dead: bool
    due: float
    record: DeliveryRecord


class DeliveryQueue:
    """Reads and writes queues. Steps may be repeated; what breaks off is there twice."""

    def __init__(self, store: ObjectStore, clock: Callable[[], float] = time.time) -> None:
        self.clock = clock
        self._store = store
        self._records = Records(store, DeliveryRecord)

    def item(self, webhook: str, record: DeliveryRecord, due: float) -> tuple[str, bytes]:
        """Return what is to be written to have a delivery due at that time."""
        return _key(keys.events_due(webhook), due), record.encode()

    async def webhooks(self) -> AsyncIterator[tuple[str, float]]:
        """Yield the id of each webhook for which something waits, and when the first is due."""
        after, last = "", ""
        while True:
            page = await self._store.list(keys.EVENTS_DUE, after=after, limit=_PAGE)
            for key in page:
                webhook, due = keys.event_parts(key)
                if webhook != last:
                    yield webhook, due / 1000
                last = webhook
            if len(page) < _PAGE:
                return
            # Not the rest of that one's queue, however long it is.
            after = keys.events_due_behind(last)

    async def due(self, webhook: str, limit: int) -> Sequence[str]:
        """Return the keys of deliveries that are due, the earliest first."""
        now = self.clock() * 1000
        page = await self._store.list(keys.events_due(webhook), limit=limit)
        return [key for key in page if keys.event_parts(key)[1] <= now]

    async def read(self, key: str) -> DeliveryRecord | None:
        """Return a delivery, ``None`` if it is gone. ``Corrupt``."""
        found = await self._records.find(key)
        return found.record if found is not None else None

    async def done(self, key: str) -> None:
        """All of it was taken, or nobody wants it any more."""
        await self._store.delete(key)

    async def keep(self, key: str, record: DeliveryRecord) -> None:
        """Only this is left of it; it stays where it is."""
        await self._store.put(key, record.encode())

    async def put(self, items: Items) -> None:
        """Write what ``item`` returned."""
        await self._store.put_all(items)

    async def bury(self, webhook: str, record: DeliveryRecord, oldest: float) -> None:
        """Keep it among the dead letters; those from before ``oldest`` (Unix seconds) go."""
        key = _key(keys.events_dead(webhook), self.clock())
        await self._store.put(key, record.encode())
        for old in await self._store.list(keys.events_dead(webhook), limit=_SWEPT):
            if keys.event_parts(old)[1] < oldest * 1000:
                await self._store.delete(old)

    async def page(self, webhook: str, after: str, limit: int, *, dead: bool) -> Leaf[Delivery]:
        """Return deliveries after the id ``after`` that wait, or are dead."""
        prefix = keys.events_dead(webhook) if dead else keys.events_due(webhook)
        leaf = await self._records.page(prefix, prefix + after if after else "", limit)
        found = [
            Delivery(keys.last_segment(e.key), dead, keys.event_parts(e.key)[1] / 1000, e.record)
            for e in leaf.items
        ]
        return Leaf(found, leaf.more)

    async def revive(self, webhook: str, number: str) -> bool:
        """Have a dead letter due now; whether there was one."""
        key = keys.events_dead(webhook) + number
        record = await self.read(key)
        if record is None:
            return False
        fresh = DeliveryRecord(record.tenant, record.webhook, self.clock(), record.events)
        await self._store.put(*self.item(webhook, fresh, self.clock()))
        await self._store.delete(key)
        return True

    async def dead(self, webhook: str) -> AsyncIterator[str]:
        """Yield the ids of all dead letters."""
        async for key in every_key(self._store, keys.events_dead(webhook)):
            yield keys.last_segment(key)

    async def forget(self, webhook: str) -> int:
        """Remove the queue and the dead letters of a webhook that is gone; return how many."""
        count = 0
        for prefix in (keys.events_due(webhook), keys.events_dead(webhook)):
            async for key in every_key(self._store, prefix):
                await self._store.delete(key)
                count += 1
        return count


def _key(prefix: str, seconds: float) -> str:
    # Not rounded up, or what is due now would not be yet; a little more, since 0.003 is 0.00299….
    milliseconds = max(0, int(seconds * 1000 + 0.01))
    return f"{prefix}{milliseconds:013}.{secrets.token_hex(8)}"
