"""How events reach the store: buffered, in batches, and never at a reader's cost.

A change that can't be written down is not made: ``room`` refuses it while the buffer is full. What
anybody can cause (logins, denials) may fill half of the buffer, and is dropped and counted beyond
that, so that nobody who is denied can stop those who are not.
"""

import asyncio
import contextlib
import logging
import re
import secrets
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import msgspec

from registry.service.audit.chain import Chain, Head
from registry.service.audit.events import BACKGROUND, CHEAP, AuditEvent, Happening
from registry.service.bounded import all_of
from registry.service.projects.events import Event
from registry.spec.errors import Unavailable
from storage import keys
from storage.ports import Items, ObjectStore, StorageError

_log = logging.getLogger("moorage.audit")

CAPACITY: Final = 10_000
"""Events that wait for the store; about 700 bytes each."""

PATIENCE: Final = 10.0
"""Seconds that a change waits for its event in strict mode, and an end for the last events."""

_TENANT: Final = re.compile(r"(?:[a-z0-9][a-z0-9._-]{0,127})?", re.ASCII).fullmatch
Find = Callable[[str], Awaitable[str]]
"""Returns the id of the project with this name, ``""`` if there is none. ``StorageError``."""

Beside = Callable[[Sequence[tuple[str, AuditEvent]]], Awaitable[Items]]
"""Returns what is to be written at once with events, which it gets with a number that is unique
for each, and always the same. ``StorageError``: then it is asked again, and they wait."""

_LOOKUPS: Final = 16
_LINES: Final = 1000
_PARTS: Final = 32


@dataclass(frozen=True, slots=True)
class _Batch:
    """What is written at once: the parts, then the head. Repeated as it is until it stands."""

    parts: Items
    head: Head
    events: int
    told: Sequence[tuple[str, AuditEvent]] = ()
    """For whom something else has to be written beside it, as long as that is not made."""


class Journal:
    """Takes events, and writes them into the store and the log. One for each process."""

    def __init__(
        self,
        store: ObjectStore,
        *,
        key: bytes = b"",
        lines: Callable[[bytes], object] | None = None,
        strict: bool = False,
        capacity: int = CAPACITY,
        interval: float = 1.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Write every ``interval`` seconds, and each line to ``lines`` at once.

        ``key`` is what hashes are made with. ``strict``: a change waits for its event.
        """
        self.strict = strict
        self.stored = self.dropped = self.refused = 0
        """Events that the store has; that were dropped; changes that were refused for them."""
        self._store = store
        self._lines = lines
        self._find: Find | None = None
        self._beside: Beside | None = None
        self._capacity = capacity
        self._interval = interval
        self._clock = clock
        self._chain = Chain(secrets.token_hex(8), key)
        # project, line, hash; the event, if something is written beside it
        self._waiting: deque[tuple[str, bytes, str, AuditEvent | None]] = deque()
        self._unplaced: deque[AuditEvent] = deque()
        self._rooms = 0
        self._untold = 0
        self._batches = 0
        self._head = Head(writer=self._chain.writer, time=clock())
        self._batch: _Batch | None = None
        self._woken = asyncio.Event()
        self._turn = asyncio.Lock()
        self._settling: list[tuple[int, asyncio.Future[None]]] = []
        self._failing = False

    @property
    def writer(self) -> str:
        """Names this process in the log."""
        return self._chain.writer

    @property
    def waiting(self) -> int:
        """How many events the store has yet to take."""
        return len(self._waiting) + len(self._unplaced) + (self._batch.events if self._batch else 0)

    def place_by(self, find: Find) -> None:
        """Find out with ``find`` which project an event is about that says its name only.

        What is denied to a caller that has no part in a project is decided without looking whether
        there is one; so that is looked at later, in the background.
        """
        self._find = find

    def accompany_by(self, beside: Beside) -> None:
        """Write what ``beside`` makes of events in the very step that writes the events."""
        self._beside = beside

    @contextlib.contextmanager
    def room(self) -> Iterator[None]:
        """Keep room for the event of a change that is made inside. ``Unavailable``: there is none.

        Asked before anything is changed.
        """
        if self.waiting + self._rooms >= self._capacity:
            self.refused += 1
            raise Unavailable(1)
        self._rooms += 1
        try:
            yield
        finally:
            self._rooms -= 1

    def record(self, event: AuditEvent) -> None:
        """Take an event, at once; never raises. Background work calls this after each change."""
        limit = self._capacity // 2 if event.action in CHEAP else self._capacity * 2
        if self.waiting >= limit:
            self._drop(1)
            return
        if event.project and not event.tenant and self._find is not None:
            self._unplaced.append(event)
        else:
            self._try_to_add(event)

    def _try_to_add(self, event: AuditEvent) -> None:
        try:
            self._add(event)
        except Exception:  # noqa: BLE001 -- see below
            # A defect in one event must not end what others depend on.
            _log.exception("an event (%s) could not be written down", event.action)
            self._drop(1)

    async def _place(self) -> None:
        """Find the projects of events that say a name only, some at once."""
        while self._unplaced:
            names = list(dict.fromkeys(event.project for event in self._unplaced))[:_LOOKUPS]
            tenants = await all_of(map(self._looked_up, names))
            found = dict(zip(names, tenants, strict=True))
            for _ in range(len(self._unplaced)):
                event = self._unplaced.popleft()
                if event.project in found:
                    tenant = found[event.project]
                    self._try_to_add(msgspec.structs.replace(event, tenant=tenant))
                else:
                    self._unplaced.append(event)

    async def _looked_up(self, name: str) -> str:
        assert self._find is not None  # noqa: S101 -- see ``_place``
        try:
            return await self._find(name)
        except StorageError:
            raise
        except Exception:  # noqa: BLE001 -- one record that can't be read
            _log.exception("the project of an event could not be looked up")
            return ""

    async def changed(self, event: Event) -> None:
        """Take what a service tells of projects, members and accounts: see ``Events``."""
        self.record(AuditEvent.told(event))

    def _drop(self, count: int) -> None:
        self.dropped += count
        self._untold += count

    def _add(self, event: AuditEvent) -> None:
        if _TENANT(event.tenant) is None:
            raise ValueError(f"{event.tenant!r} is no project's id")
        line = self._chain.add(event)
        kept = event if self._beside is not None else None
        self._waiting.append((event.tenant, line, self._chain.last, kept))
        if self._lines is not None:
            self._lines(line + b"\n")

    async def settled(self) -> None:
        """Wait until the store has every event that was taken up to now. ``Unavailable``.

        Those who wait at once share one write.
        """
        until = self._chain.events
        if self._head.events >= until:
            return
        future = asyncio.get_running_loop().create_future()
        self._settling.append((until, future))
        self._woken.set()
        try:
            async with asyncio.timeout(PATIENCE):
                await future
        except TimeoutError:
            raise Unavailable(5) from None

    async def run(self) -> None:
        """Write for ever. What fails is logged, and tried again."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._interval):
                    await self._woken.wait()
            self._woken.clear()
            if not await self._attempt():
                await asyncio.sleep(self._interval)

    async def close(self) -> None:
        """Write what is left, and seal the head. It takes no longer than ``PATIENCE``."""
        try:
            async with asyncio.timeout(PATIENCE):
                await self.flush()
                if self._head.events:
                    ended = msgspec.structs.replace(self._head, time=self._clock(), sealed=True)
                    await self._store.put(*self._item(ended))
        except (StorageError, TimeoutError) as error:
            _log.error("%d events of the audit log are lost: %s", self.waiting, error)

    async def _attempt(self) -> bool:
        try:
            await self.flush()
        except StorageError as error:
            if not self._failing:
                _log.warning("the audit log can't be written, it will be: %s", error)
            self._failing = True
        except Exception:  # noqa: BLE001 -- a defect: the next attempt still counts
            _log.exception("the audit log can't be written")
        else:
            self._failing = False
            return True
        return False

    async def flush(self) -> None:
        """Write all that waits. ``StorageError``: what could not be written still waits."""
        async with self._turn:
            while True:
                if self._batch is None:
                    await self._place()
                    self._batch = self._take()
                batch = self._batch
                if batch is None:
                    return
                if batch.told and self._beside is not None:
                    # Once: whenever the batch is repeated, it is the very same.
                    more = await self._beside(batch.told)
                    batch = replace(batch, parts=[*batch.parts, *more], told=())
                    self._batch = batch
                head = batch.head
                # The first time, a head that tells of nothing goes ahead: a process that ends after
                # its first batch leaves no batch without one.
                steps = [batch.parts, [self._item(head)]]
                if head.batches == 1:
                    steps.insert(0, [self._item(self._head)])
                await self._store.put_all(*steps)
                self._head, self._batch = head, None
                self.stored += batch.events
                self._wake()

    def _item(self, head: Head) -> tuple[str, bytes]:
        return keys.audit_head(self.writer), head.line(self._chain.key)

    def _take(self) -> _Batch | None:
        """Make a batch of what waits: of bounded size, for a bounded number of projects."""
        if self._untold:
            count, self._untold = self._untold, 0
            dropped = Happening.EVENTS_DROPPED
            self._add(AuditEvent.of(self._clock(), dropped, BACKGROUND, count=count))
        if not self._waiting:
            return None
        parts: dict[str, list[bytes]] = {}
        told: list[tuple[str, AuditEvent]] = []
        last, count = "", 0
        while self._waiting and count < _LINES:
            tenant, line, last_hash, event = self._waiting[0]
            if tenant not in parts and len(parts) == _PARTS:
                break
            parts.setdefault(tenant, []).append(line)
            last, count = last_hash, count + 1
            if event is not None:
                told.append((f"{self.writer}-{self._head.events + count}", event))
            self._waiting.popleft()
        now = self._clock()
        number = self._head.batches + 1
        head = Head(
            writer=self.writer,
            time=now,
            events=self._head.events + count,
            batches=number,
            last=last,
        )
        milliseconds = int(now * 1000)
        items = [
            (
                keys.audit_batch(tenant, milliseconds, self.writer, number),
                b"".join(line + b"\n" for line in lines),
            )
            for tenant, lines in parts.items()
        ]
        return _Batch(items, head, count, told)

    def _wake(self) -> None:
        reached = self._head.events
        still = []
        for until, future in self._settling:
            if until > reached and not future.done():
                still.append((until, future))
            elif not future.done():
                future.set_result(None)
        self._settling = still
