"""Histories of operations on a tag, and whether they are linearizable.

A tag is a register that holds a digest or nothing. An operation has a time of invocation and one
of response; the history is right if there is an order of all operations, each taking effect at one
moment between its two times, in which every answer is what a register would have said (Herlihy
and Wing). The search is that of Wing and Gong with Lowe's memo: a set of operations that have
taken effect, together with the register's value, is tried once.

An operation whose answer never came (`response` is None) may have taken effect at any later moment,
or never.
"""

import functools
import heapq
import itertools
import math
import operator
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

Kind = Literal["read", "put", "delete"]


@dataclass(frozen=True)
class Operation:
    """One request for one tag and its answer.

    `value` is the digest put, or the one that was read (None: nothing there).
    `expected` is the condition of a put or delete: a digest, "absent", "present", or None for
    none. `outcome`: "ok", "refused" (412; `seen` is what the answer said is there, None where it
    said nothing is), "missing" (404 of a delete) or "gone" (a delete that was told "ok" where it
    is enough that nothing was there afterwards: see `with_shared_deletions`). Times in seconds of
    a clock that all clients share.
    """

    kind: Kind
    invoked: float
    response: float | None
    value: str | None = None
    expected: str | None = None
    outcome: Literal["ok", "refused", "missing", "gone"] = "ok"
    seen: str | None = None

    def apply(self, state: str | None) -> tuple[bool, str | None]:
        """Tell whether a register holding `state` could answer so, and what it holds then.

        Of an operation without an answer: what it holds when it takes effect.
        """
        if self.kind == "read":
            return self.response is None or self.value == state, state
        holds = (
            self.expected is None
            or (self.expected == "absent" and state is None)
            or (self.expected == "present" and state is not None)
            or self.expected == state
        )
        if self.kind == "delete":
            after = None if holds and state is not None else state
            outcome = "refused" if not holds else "ok" if state is not None else "missing"
        else:
            after = self.value if holds else state
            outcome = "ok" if holds else "refused"
        if self.response is None:
            return True, after
        if self.outcome == "gone":
            return holds or state is None, None
        return outcome == self.outcome and (outcome != "refused" or self.seen == state), after


class TooHardError(Exception):
    """The search was given up: too many operations overlap."""


def is_linearizable(
    history: Sequence[Operation], initial: str | None = None, *, steps: int = 2_000_000
) -> bool:
    """Tell whether there is such an order of the operations on one tag.

    TooHardError after so many `steps`. Thousands of operations are no work as long as only tens of
    them overlap, whether or not some have no answer.
    """
    return not unexplained(history, initial, steps=steps)


def unexplained(
    history: Sequence[Operation], initial: str | None = None, *, steps: int = 2_000_000
) -> list[Operation]:
    """Give the operations at which every order fails; none if there is one that does not."""
    answered, lost = _with_deadlines(history, initial)
    return _Search(answered, _useful(lost, _observed(history)), steps).run(initial)


def with_shared_deletions(history: Sequence[Operation]) -> list[Operation]:
    """Let two deletions that overlap both be told that they deleted the tag.

    Where Redis is lost the store is the only judge, and S3 does not tell who deleted an object.
    """
    return [
        replace(each, outcome="gone") if each.kind == "delete" and each.outcome == "ok" else each
        for each in history
    ]


def _useful(lost: Sequence[Operation], seen: set[str | None]) -> list[Operation]:
    """Keep what could explain an answer, in the form in which it does.

    A deletion matters only where something is there. A put of which nobody ever saw anything
    matters only where nothing is: no answer tells its value from the one that it replaces.
    """
    found = []
    for each in lost:
        if each.kind == "delete":
            if each.expected != "absent":
                found.append(replace(each, value=None, expected=each.expected or "present"))
        elif each.value not in seen:
            if each.expected in (None, "absent"):
                found.append(replace(each, value="?", expected="absent"))
        else:
            found.append(each)
    return found


def _observed(history: Sequence[Operation]) -> set[str | None]:
    """Give the values that answers tell of: read, named by a refusal, or swapped for another."""
    told = [each for each in history if each.response is not None]
    found = {each.value for each in told if each.kind == "read"}
    found |= {each.seen for each in told if each.outcome == "refused"}
    # A condition matters also where its outcome is not known.
    return found | {each.expected for each in history}


def _with_deadlines(
    history: Sequence[Operation], initial: str | None
) -> tuple[list[Operation], list[Operation]]:
    """Split into what happened at a bounded time and what may have happened at any time, or not.

    A put without an answer, the only one of its value, happened if that value was seen, and before
    whoever saw it had its answer: as if it had been answered then. Reads without an answer say
    nothing.
    """
    puts = Counter(each.value for each in history if each.kind == "put")
    deadlines: dict[str | None, float] = {}
    for each in history:
        if each.response is None:
            continue
        seen = each.value if each.kind == "read" else each.seen
        if each.kind != "read" and each.outcome == "ok":
            seen = each.expected
        deadlines[seen] = min(each.response, deadlines.get(seen, math.inf))
    answered, lost = [], []
    for each in history:
        if each.response is not None:
            answered.append(each)
        elif each.kind == "put" and puts[each.value] == 1 and each.value != initial:
            late = deadlines.get(each.value)
            if late is None:
                lost.append(each)
            else:
                answered.append(replace(each, response=late, outcome="ok"))
        elif each.kind != "read":
            lost.append(each)
    return answered, lost


_Place = tuple[int, int, str | None]
"""The first operation that is left, which of those from it on took effect (bits), the register."""

_Level = dict[_Place, list[int]]
"""What can be reached, and with which of the operations without an answer (bits)."""


class _Search:
    """Level by level: all that the first so many answers can have led to.

    Three things keep a level small. An answer that may come next and tells of no change comes next:
    in any order that has it later it could as well be here. Operations without an answer that do
    the same are used in the order in which they were invoked: any order with another one of them is
    one with this one. And of two ways to the same place, the one that used more of them is dropped,
    not counting those whose condition can never hold again: it has less left to explain the rest.
    """

    def __init__(
        self, answered: Sequence[Operation], lost: Sequence[Operation], steps: int
    ) -> None:
        self._answered = sorted(answered, key=lambda each: each.invoked)
        self._steps = steps
        alike: dict[tuple[str, str | None, str | None], list[tuple[int, Operation]]] = {}
        for number, each in enumerate(sorted(lost, key=lambda each: each.invoked)):
            alike.setdefault((each.kind, each.value, each.expected), []).append((1 << number, each))
        # By their condition: few of them could do anything to what the register holds.
        self._lost: dict[str | None, list[list[tuple[int, Operation]]]] = {}
        for (_, _, expected), some in alike.items():
            self._lost.setdefault(expected, []).append(some)
        self._over = self._find_over(lost)

    def run(self, initial: str | None) -> list[Operation]:
        """Give the operations that could not be placed, none if all could."""
        level: _Level = {(0, 0, initial): [0]}
        left: list[int] = []
        for _ in self._answered:
            above: _Level = {}
            number = itertools.count()
            # Those that used few come first: what they lead to need not be looked at twice.
            queue = [
                (used.bit_count(), next(number), used, place)
                for place in level
                for used in level[place]
            ]
            heapq.heapify(queue)
            while queue:
                _, _, used, place = heapq.heappop(queue)
                left, horizon = self._pending(place)
                self._answer(above, place, used, left)
                for more, beside in self._without_answer(place, used, horizon):
                    if _is_new(level, beside, more):
                        heapq.heappush(queue, (more.bit_count(), next(number), more, beside))
            self._steps -= sum(map(len, level.values()))
            if self._steps < 0:
                raise TooHardError(f"{len(self._answered)} operations overlap too much")
            if not above:
                return [self._answered[number] for number in left]
            level = above
        return []

    def _pending(self, place: _Place) -> tuple[list[int], float]:
        """Give what may come next: whatever began before the first answer among what is left."""
        first, done, _ = place
        horizon = math.inf
        found = []
        for number in range(first, len(self._answered)):
            each = self._answered[number]
            if each.invoked > horizon:
                break
            if not done >> (number - first) & 1:
                assert each.response is not None
                found.append(number)
                horizon = min(horizon, each.response)
        return found, horizon

    def _answer(self, above: _Level, place: _Place, used: int, pending: Sequence[int]) -> None:
        """Note where one of the pending operations leads."""
        first, done, state = place
        found = []
        for number in pending:
            each = self._answered[number]
            possible, after = each.apply(state)
            if possible and (each.kind == "read" or each.outcome in ("refused", "missing")):
                found = [(number, after)]
                break
            if possible:
                found.append((number, after))
        for number, after in found:
            start, rest = first, done | 1 << (number - first)
            while rest & 1:
                start, rest = start + 1, rest >> 1
            over = self._over[start] & ~self._bits(self._lost.get(after, ()))
            _is_new(above, (start, rest, after), used & ~over)

    def _without_answer(
        self, place: _Place, used: int, horizon: float
    ) -> Iterator[tuple[int, _Place]]:
        """Give where an operation may lead of which it is not known whether it took effect."""
        first, done, state = place
        for expected in (None, "absent" if state is None else "present", state or ""):
            for alike in self._lost.get(expected, ()):
                for bit, each in alike:
                    if used & bit:
                        continue
                    _, after = each.apply(state)
                    if each.invoked <= horizon and after != state:
                        yield used | bit, (first, done, after)
                    break

    def _find_over(self, lost: Sequence[Operation]) -> list[int]:
        """Give, by number of the first that is left, what can't be used unless it can now (bits).

        That is what expects a value which only operations before that one could have put.
        """
        last = {each.value: at for at, each in enumerate(self._answered) if each.kind == "put"}
        last |= {each.value: len(self._answered) for each in lost if each.kind == "put"}
        ends = [0] * (len(self._answered) + 1)
        for expected, kinds in self._lost.items():
            if expected not in (None, "absent", "present"):
                at = min(last.get(expected, -1) + 1, len(self._answered))
                ends[at] |= self._bits(kinds)
        return list(itertools.accumulate(ends, operator.or_))

    @staticmethod
    def _bits(kinds: Sequence[Sequence[tuple[int, Operation]]]) -> int:
        return functools.reduce(operator.or_, (bit for alike in kinds for bit, _ in alike), 0)


def _is_new(level: _Level, place: _Place, used: int) -> bool:
    """Note that a place can be reached; tell whether it could not, having used less."""
    before = level.setdefault(place, [])
    if any(other & ~used == 0 for other in before):
        return False
    before[:] = [other for other in before if used & ~other != 0]
    before.append(used)
    return True
