"""Sends what is due: at least once, each webhook at its own pace."""

import asyncio
import logging
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import msgspec

from registry.service.projects.kept import Records
from registry.service.records import Corrupt
from registry.service.webhooks.queue import DeliveryQueue
from registry.service.webhooks.records import DeliveryRecord, TellRecord, WebhookRecord
from registry.spec.retries import wait_before
from storage import keys
from storage.coordination import CoordinationUnavailable, Coordinator
from storage.ports import ObjectStore, StorageError

_log = logging.getLogger("moorage.webhooks")

LEASE: Final = "webhooks"
SHIFT: Final = 60.0
"""Seconds after which the lease is given up, so that a lost one shows."""

SLICE: Final = 10.0
"""Seconds after which a webhook lets others have its place."""

_DELIVERIES: Final = 50
_FAILURES: Final = 3
"""Failures in a row after which a webhook is left alone for a while; after that, one."""

_GONE: Final = "the webhook was removed"
_PAUSED: Final = "the webhook is not active"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of sending. ``error`` is empty if it was taken; ``status`` 0: no answer."""

    status: int
    error: str
    seconds: float


class Send(Protocol):
    """Sends one event, once, within a bounded time; what goes wrong is in the outcome."""

    async def __call__(self, url: str, secret: str, event: TellRecord) -> Outcome:
        """Send it."""
        ...


class Deliveries(Protocol):
    """Told what comes of deliveries. Must not raise."""

    def sent(self, outcome: Outcome) -> None:
        """An event was sent."""
        ...

    def gave_up(self, events: int) -> None:
        """So many events became dead letters."""
        ...

    def resting(self, webhooks: int) -> None:
        """So many webhooks are left alone for a while."""
        ...

    def waiting(self, webhooks: int, seconds: float) -> None:
        """For so many webhooks something waits, and the first of it has been due for so long."""
        ...


@dataclass(frozen=True, slots=True)
class DeliveryTerms:
    """``first`` seconds before the second attempt; ``oldest``: the age to give up at, in seconds.

    ``kept``: seconds for which dead letters stay. ``interval``: seconds between two looks.
    """

    first: float = 10.0
    oldest: float = 86_400.0
    kept: float = 30 * 86_400.0
    interval: float = 2.0
    concurrency: int = 32


@dataclass(slots=True)
class _Rest:
    """A webhook that takes nothing: until when it is left alone (Unix seconds), for which time."""

    until: float
    times: int


class Deliverer:
    """Delivers. Of several processes one does, under a lease; if that is lost, some come twice."""

    def __init__(
        self,
        store: ObjectStore,
        coordinator: Coordinator,
        queue: DeliveryQueue,
        send: Send,
        told: Deliveries,
        terms: DeliveryTerms | None = None,
        *,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._coordinator = coordinator
        self._queue = queue
        self._send = send
        self._told = told
        self._terms = terms or DeliveryTerms()
        self._chance = chance
        self._hooks = Records(store, WebhookRecord)
        self._gate = asyncio.Semaphore(self._terms.concurrency)
        self._resting: dict[str, _Rest] = {}

    async def deliver(self) -> int:
        """Send all that is due, and what comes due meanwhile; return how many turns that took.

        ``LeaseHeld`` where another process is at it. It may be broken off at any moment: what was
        sent and not yet taken out of the queue is sent again, with the same ids. ``StorageError``.
        """
        turns = 0
        async with self._coordinator.hold(LEASE):
            ends = asyncio.get_running_loop().time() + SHIFT
            running: dict[str, asyncio.Task[None]] = {}
            try:
                while True:
                    if asyncio.get_running_loop().time() < ends:
                        turns += await self._begin(running)
                    if not running:
                        return turns
                    await asyncio.wait(
                        running.values(),
                        timeout=self._terms.interval,
                        return_when=asyncio.FIRST_COMPLETED,
                    )
                    for webhook in [each for each, task in running.items() if task.done()]:
                        running.pop(webhook).result()
            finally:
                for task in running.values():
                    task.cancel()
                await asyncio.gather(*running.values(), return_exceptions=True)

    async def _begin(self, running: dict[str, asyncio.Task[None]]) -> int:
        """Begin a turn of each webhook for which something is due."""
        begun, now, waiting, oldest = 0, self._queue.clock(), set(), self._queue.clock()
        async for webhook, due in self._queue.webhooks():
            waiting.add(webhook)
            oldest = min(oldest, due)
            rest = self._resting.get(webhook)
            if due > now or webhook in running or (rest is not None and rest.until > now):
                continue
            running[webhook] = asyncio.create_task(self._turn(webhook))
            begun += 1
        for webhook in self._resting.keys() - waiting - running.keys():
            del self._resting[webhook]
        self._told.resting(len(self._resting))
        self._told.waiting(len(waiting), now - oldest)
        return begun

    async def _turn(self, webhook: str) -> None:
        """Send what is due for one webhook, for a bounded time. What fails is tried again."""
        async with self._gate:
            try:
                await self._deliver(webhook)
            except (StorageError, CoordinationUnavailable, Corrupt) as error:
                _log.warning("the queue of webhook %s was not seen to: %s", webhook, error)
                self._rest(webhook)
            except Exception:  # noqa: BLE001 -- a defect in one queue must not end the others'
                _log.exception("the queue of webhook %s was not seen to", webhook)
                self._rest(webhook)

    async def _deliver(self, webhook: str) -> None:
        ends = asyncio.get_running_loop().time() + SLICE
        failures = 0
        most = 1 if webhook in self._resting else _FAILURES
        for key in await self._queue.due(webhook, _DELIVERIES):
            record = await self._queue.read(key)
            if record is None:
                continue
            hook = await self._hook(webhook, record)
            if isinstance(hook, str):
                await self._drop(webhook, key, record, hook)
                continue
            failed: list[TellRecord] = []
            error, left = "", list(record.events)
            while left and failures < most and asyncio.get_running_loop().time() < ends:
                outcome = await self._send(hook.url, hook.secret, left[0])
                self._told.sent(outcome)
                if outcome.error:
                    failures += 1
                    error = outcome.error
                    failed.append(left[0])
                else:
                    failures, most = 0, _FAILURES
                    self._resting.pop(webhook, None)
                del left[0]
            await self._settle(webhook, key, record, failed, left, error, spent=failures >= most)
            if asyncio.get_running_loop().time() >= ends:
                break
        if failures >= most:
            self._rest(webhook)

    async def _hook(self, webhook: str, record: DeliveryRecord) -> WebhookRecord | str:
        """Return the webhook, or why nothing is sent to it."""
        kept = await self._hooks.find(keys.webhook(record.tenant, record.webhook))
        if kept is None or kept.record.id != webhook:
            return _GONE
        return kept.record if kept.record.active else _PAUSED

    async def _drop(self, webhook: str, key: str, record: DeliveryRecord, why: str) -> None:
        if why != _GONE:
            await self._bury(webhook, msgspec.structs.replace(record, error=why))
        await self._queue.done(key)

    async def _settle(
        self,
        webhook: str,
        key: str,
        record: DeliveryRecord,
        failed: Sequence[TellRecord],
        left: Sequence[TellRecord],
        error: str,
        *,
        spent: bool,
    ) -> None:
        """Write down what was not taken, then take the delivery, or what was taken of it, out.

        What was not tried since the webhook takes nothing (``spent``) stays, until it is too old.
        """
        now = self._queue.clock()
        over = now - record.since >= self._terms.oldest
        if failed:
            attempts = record.attempts + 1
            again = DeliveryRecord(
                record.tenant, record.webhook, record.since, tuple(failed), attempts, now, error
            )
            if over:
                await self._bury(webhook, again)
            else:
                wait = wait_before(attempts + 1, self._terms.first, self._chance())
                await self._queue.put([self._queue.item(webhook, again, now + wait)])
        rest = msgspec.structs.replace(record, events=tuple(left))
        if left and over and spent:
            await self._bury(webhook, msgspec.structs.replace(rest, error=error or record.error))
            left = ()
        if not left:
            await self._queue.done(key)
        elif len(left) < len(record.events):
            await self._queue.keep(key, rest)

    async def _bury(self, webhook: str, record: DeliveryRecord) -> None:
        await self._queue.bury(webhook, record, self._queue.clock() - self._terms.kept)
        self._told.gave_up(len(record.events))
        _log.warning(
            "the webhook %s did not take %d events: %s", webhook, len(record.events), record.error
        )

    def _rest(self, webhook: str) -> None:
        """Leave a webhook alone for a while, longer each time in a row."""
        times = self._resting[webhook].times + 1 if webhook in self._resting else 1
        wait = wait_before(times + 1, self._terms.first, self._chance())
        self._resting[webhook] = _Rest(self._queue.clock() + wait, times)
