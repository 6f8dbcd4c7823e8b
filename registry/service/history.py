"""What tags were: in the tag's own record as long as it is there, and beside it when it is deleted.

The record is swapped with each change of the tag anyway, so that what it was costs a push nothing.
Only who deletes a tag writes its past down under a key of its own.
"""

import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from registry.service.entries import value
from registry.service.records import Record, TagRecord, TagState
from registry.spec.names import Place, Tag
from storage import keys
from storage.ports import ObjectStore, PreconditionFailed

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
        await self._store.put(keys.history(repository, tag), PastRecord(kept).encode())

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

    async def prune(self, key: str) -> None:
        """Forget what a deleted tag was if even the newest of it is too old."""
        found = await value(self._store, key)
        if found is None:
            return
        states = PastRecord.decode(found.data).states
        if not states or states[0].at <= time.time() - self._terms.seconds:
            with suppress(PreconditionFailed):
                await self._store.delete(key, version=found.version)

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
