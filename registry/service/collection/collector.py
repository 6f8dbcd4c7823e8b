"""The collector: takes what is due from the queue of candidates, and sees to it."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, TypeVar

from registry.service.bounded import all_of, each
from registry.service.collection.candidates import Candidate, Candidates
from registry.service.collection.findings import Report, nobody
from registry.service.collection.judge import Judge, Needed, Outcome
from registry.service.collection.needs import Known, Needs
from registry.service.entries import Entries, value
from registry.service.failures import FAILURES
from registry.service.memberships import Memberships
from registry.service.mounts import all_mounted
from registry.service.pointers import Pointers
from registry.service.presence import exists
from registry.service.quotas.quotas import Quotas
from registry.service.records import DeletedRecord
from registry.service.settling import Settling
from registry.service.terms import Terms
from registry.service.throttle import Throttle
from registry.spec.digest import Digest
from registry.spec.names import Place
from registry.spec.quota import Amounts
from storage import keys
from storage.coordination import Coordinator
from storage.ports import ContentStore, PreconditionFailed

_log = logging.getLogger("moorage.collection")

T = TypeVar("T")

_PAGE: Final = 200
_AT_ONCE: Final = 8
LEASE: Final = "collector"


class NotLinked(Exception):
    """It has not been looked at yet which blobs the manifests of this store need."""


@dataclass(slots=True)
class Pass:
    """What one pass did: candidates that were due and seen to; those that are to be looked at.

    ``lag`` is for how many seconds the first of them had been due.
    """

    seen: int = 0
    looks: int = 0
    failed: int = 0
    lag: float = 0.0


class Collector:
    """Collects. Any number may work on one store: none relies on being alone."""

    def __init__(
        self,
        store: ContentStore,
        coordinator: Coordinator,
        candidates: Candidates,
        terms: Terms,
        *,
        exact: bool = True,
        per_second: float = 0.0,
        concurrency: int = 16,
        report: Report = nobody,
        quotas: Quotas | None = None,
    ) -> None:
        """Make up to ``per_second`` looks (0: any number), ``concurrency`` at a time.

        What has counted in ``quotas`` is given back.
        """
        self._store = store
        self._coordinator = coordinator
        self._candidates = candidates
        self._terms = terms
        self._throttle = Throttle(per_second)
        self._gate = asyncio.Semaphore(concurrency)
        self._report = report
        self._quotas = quotas or Quotas(store, coordinator, enabled=False)
        self._entries = Entries(store, exact=exact)
        self._members = Memberships(store, self._entries, terms)
        self._pointers = Pointers(store, terms)
        self._settling = Settling(store, coordinator, self._entries, candidates, terms)

    async def collect(self, *, look: bool = False, wait: float = 0.0) -> Pass:
        """See to all candidates that are due; return when there are no more.

        With ``look`` nothing is changed, and those that are not due yet are looked at as well.
        It may be broken off at any moment: what was not done is still in the queue. ``NotLinked``
        until a full mark has been made of a store that is older than the collector.
        ``LeaseHeld`` where another is still at work after ``wait`` seconds.
        """
        if not await exists(self._store, keys.READ):
            raise NotLinked
        if look:
            return await self._pass(look=True)
        async with self._coordinator.hold(LEASE, wait=wait):
            return await self._pass(look=False)

    async def _pass(self, *, look: bool) -> Pass:
        done, after = Pass(), ""
        now = self._terms.clock()
        while True:
            known = await self._mounted(look=look)
            page = await self._store.list(keys.CANDIDATES, after=after, limit=_PAGE)
            due = [key for key in page if look or keys.candidate_due(key) <= now * 1000]
            if due and not after:
                done.lag = max(0.0, now - keys.candidate_due(due[0]) / 1000)
            needs = Needs(
                self._store, self._entries, self._candidates, self._terms, known, look=look
            )
            see_to = partial(self._see_to, needs, done, look=look)
            await each(due, see_to, at_once=_AT_ONCE)
            if len(due) < _PAGE:
                return done
            after = due[-1]

    async def _mounted(self, *, look: bool) -> Known:
        """Settle what was mounted at once, so that a list of holders has it from here on.

        With ``look``, tell what it is instead.
        """
        as_of = self._terms.clock()
        if not look:
            await self._settling.everything()
            return Known(as_of)
        return Known(as_of, mounted=await all_mounted(self._store))

    async def _see_to(self, needs: Needs, done: Pass, key: str, *, look: bool) -> None:
        """See to one candidate. What fails stays in the queue, and does not keep others waiting."""
        try:
            found = await value(self._store, key)
            if found is None:
                return
            candidate = Candidate.decode(found.data)
            known = needs.known
            if candidate.members or candidate.manifest:
                known = await needs.of(Place(candidate.place))
            judge = Judge(
                self._store,
                self._coordinator,
                self._members,
                self._pointers,
                self._terms,
                self._report,
                known,
                look=look,
            )
            left, wait = await self._judge(judge, candidate, known, done, look=look)
            done.seen += 1
            if look:
                return
            if left is not None:
                await self._candidates.write(left, self._terms.clock() + wait)
            await self._store.delete(key)
        except FAILURES as error:
            done.failed += 1
            _log.warning("candidate %s could not be seen to, it will be: %s", key, error)

    async def _judge(
        self, judge: Judge, candidate: Candidate, known: Known, done: Pass, *, look: bool
    ) -> tuple[Candidate | None, float]:
        """Judge all that a candidate names; return what of it is to be looked at again, and when.

        Members first: a pointer whose last member has gone is looked at at once.
        """
        place = Place(candidate.place)
        wait = await self._forget(place, candidate.manifest, look=look)
        if wait > 0:
            return candidate, wait

        async def one(look_at: Callable[[], Awaitable[T]]) -> T:
            async with self._gate:
                await self._throttle.wait()
                done.looks += 1
                return await look_at()

        async def member(digest: Digest) -> tuple[Outcome, bool]:
            """What came of it; whether the entry of the deleted manifest may still be there."""
            sure = Needed.NO
            if candidate.manifest:
                sure = await judge.no_more(place, digest, candidate.manifest)
            outcome = await judge.member(place, digest)
            if sure is Needed.UNSURE:
                outcome = replace(outcome, wait=max(outcome.wait, self._terms.grace))
            return outcome, sure is Needed.UNSURE

        members = [Digest(each) for each in candidate.members]
        async with self._quotas.charging(place.tenant) as charge:
            round_ = await charge.round()
            seen = await all_of(one(partial(member, digest)) for digest in members)
            outcomes = [outcome for outcome, _ in seen]
            if charge.limited:
                taken = zip(members, outcomes, strict=True)
                gone = [digest for digest, each in taken if each.gone]
                charge.removed(Amounts(bytes=await self._size(gone)), round_)
        manifest = candidate.manifest if any(unsure for _, unsure in seen) else ""
        waits = [each.wait for each in outcomes]
        again = tuple(
            digest for digest, each in zip(members, outcomes, strict=True) if each.wait >= 0
        )
        released = {
            digest: None for digest, each in zip(members, outcomes, strict=True) if each.released
        }
        pointers = list(released | {Digest(each): None for each in candidate.pointers})
        outcomes = await all_of(one(partial(judge.pointer, digest)) for digest in pointers)
        waits += [each.wait for each in outcomes]
        later = tuple(
            digest for digest, each in zip(pointers, outcomes, strict=True) if each.wait >= 0
        )
        if candidate.manifest in known.left:
            manifest, waits = candidate.manifest, [*waits, self._terms.grace]
        elif not again and not later:
            return None, 0.0
        return Candidate(candidate.place, manifest, again, later), max(waits)

    async def _size(self, digests: Sequence[Digest]) -> int:
        """The size of the blobs in bytes; their pointers stay for longer than a membership."""
        total = 0

        async def add(digest: Digest) -> None:
            nonlocal total
            found = await self._pointers.read(digest)
            total += found[0].size if found is not None else 0

        await each(digests, add, at_once=_AT_ONCE)
        return total

    async def _forget(self, place: Place, manifest: str, *, look: bool) -> float:
        """Forget a deleted manifest that can't be had back any more; else how long it still can."""
        if not manifest:
            return 0.0
        key = keys.deleted(place, Digest(manifest))
        found = await value(self._store, key)
        if found is None:
            return 0.0
        wait = DeletedRecord.unpack(found.data)[0].until - self._terms.clock()
        if wait <= 0 and not look:
            with suppress(PreconditionFailed):
                await self._store.delete(key, version=found.version)
        return wait
