"""What tags were: in the tag's own record as long as it is there, and beside it when it is deleted.

The record is swapped with each change of the tag anyway, so that what it was costs a push nothing.
Only who deletes a tag writes its past down under a key of its own; and when it may be forgotten, in
a queue that lists in the order of these times.
"""

import logging
import secrets
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from registry.service.entries import value
from registry.service.listing import every_key
from registry.service.records import Corrupt, Record, TagRecord, TagState
from registry.spec.names import Place, Tag
from storage import keys
from storage.ports import ObjectStore, PreconditionFailed

_log = logging.getLogger("moorage.tags")

_DAY: Final = 86_400.0


@dataclass(frozen=True, slots=True)
class HistoryTerms:
    """Of each tag the last ``count`` states are kept, for ``seconds`` after they ended."""

    count: int = 20
    seconds: float = 90 * _DAY


HISTORY_TERMS: Final = HistoryTerms()


class PastRecord(Record, frozen=True):
    """What a tag was that has been deleted; the newest first."""

    states: tuple[TagState, ...]


class Forget(Record, frozen=True):
    """A tag of the repository ``place`` that was deleted ``at`` (Unix seconds)."""

    place: str
    tag: str
    at: float


class Histories:
    """Keeps what tags were, and tells it."""

    def __init__(self, store: ObjectStore, terms: HistoryTerms = HISTORY_TERMS) -> None:
        self._store = store
        self._terms = terms

    def after(self, before: TagRecord | None) -> tuple[TagState, ...]:
        """What the record of a tag keeps that was ``before`` up to now."""
        if before is None:
            return ()
        return self._bounded((_state(before), *before.history), time.time())

    async def keep(self, repository: Place, tag: Tag, record: TagRecord, by: str) -> None:
        """Write down what a tag was that ``by`` is about to delete.

        Repeatable. Where the deletion breaks off, ``of`` tells that there was none.
        """
        if not self._terms.count:
            return
        now = time.time()
        gone = TagState("", record.version + 1, by, now)
        own = (_state(record), *record.history)
        kept = self._bounded((gone, *_joined(own, await self._past(repository, tag))), now)
        # First when to forget it: what breaks off in between leaves nothing that stays for ever.
        await self._store.put_all(
            [self._due(Forget(repository, tag, now))],
            [(keys.history(repository, tag), PastRecord(kept).encode())],
        )

    async def of(self, repository: Place, tag: Tag) -> Sequence[TagState]:
        """Return what the tag is and was, the newest first; nothing for one that never was.

        A state without a digest: the tag was deleted then.
        """
        record = await value(self._store, keys.tag(repository, tag))
        past = await self._past(repository, tag)
        if record is None:
            return past
        standing = TagRecord.decode(record.data)
        return list(_joined((_state(standing), *standing.history), past))

    async def sweep(self) -> int:
        """Forget what deleted tags were whose time is over; return how many.

        Costs a listing of those that are due, whatever else is stored. May be broken off, and done
        by many at once.
        """
        gone, now = 0, time.time()
        async for key in every_key(self._store, keys.PAST):
            if keys.past_due(key) > now * 1000:
                break
            found = await value(self._store, key)
            if found is None:
                continue
            try:
                forget = Forget.decode(found.data)
                newest = await self.prune(keys.history(Place(forget.place), Tag(forget.tag)))
            except Corrupt as error:  # it must not keep others waiting
                _log.warning("what a deleted tag was can't be forgotten: %s", error)
                continue
            if newest == forget.at:
                # The terms were longer by now. One that was deleted since is due by itself.
                await self._store.put_all([self._due(forget)])
            await self._store.delete(key)
            gone += newest is None
        return gone

    async def prune(self, key: str) -> float | None:
        """Forget what a deleted tag was if even the newest of it is too old.

        Return when that began (Unix seconds) if it stays, ``None`` if there is nothing any more.
        """
        found = await value(self._store, key)
        if found is None:
            return None
        states = PastRecord.decode(found.data).states
        if states and states[0].at > time.time() - self._terms.seconds:
            return states[0].at
        with suppress(PreconditionFailed):
            await self._store.delete(key, version=found.version)
        return None

    def _due(self, forget: Forget) -> tuple[str, bytes]:
        due = int((forget.at + self._terms.seconds) * 1000) + 1
        return keys.past(due, secrets.token_hex(8)), forget.encode()

    async def _past(self, repository: Place, tag: Tag) -> tuple[TagState, ...]:
        found = await value(self._store, keys.history(repository, tag))
        return PastRecord.decode(found.data).states if found else ()

    def _bounded(self, states: Sequence[TagState], now: float) -> tuple[TagState, ...]:
        """Leave out what is too old, by when it ended, and what is too much."""
        ends = [now, *(state.at for state in states)]
        return tuple(
            state
            for state, ended in zip(states[: self._terms.count], ends, strict=False)
            if ended > now - self._terms.seconds
        )


def _joined(own: Sequence[TagState], past: Iterable[TagState]) -> Iterable[TagState]:
    """What a tag's record tells, and behind it what was written down when it was deleted.

    A deletion that broke off has written down states that the record still has: they are told
    once, and the deletion is not.
    """
    known = set(own)
    behind = list(past)
    if len(behind) > 1 and not behind[0].digest and behind[1] in known:
        del behind[0]
    return [*own, *(state for state in behind if state not in known)]


def _state(record: TagRecord) -> TagState:
    return TagState(record.digest, record.version, record.by, record.at)
