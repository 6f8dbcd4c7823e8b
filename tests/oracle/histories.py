"""Histories of operations on a tag, and whether they are linearizable.

A tag is a register that holds a digest or nothing. An operation has a time of invocation and one
of response; the history is right if there is an order of all operations, each taking effect at one
moment between its two times, in which every answer is what a register would have said (Herlihy
and Wing). The search is that of Wing and Gong with Lowe's memo: a set of operations that have
taken effect, together with the register's value, is tried once.

An operation whose answer never came (`response` is None) may have taken effect at any later moment,
or never.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Kind = Literal["read", "put", "delete"]


@dataclass(frozen=True)
class Operation:
    """One request for one tag and its answer.

    `value` is the digest put, or the one that was read (None: nothing there).
    `expected` is the condition of a put or delete: a digest, "absent", "present", or None for
    none. `outcome`: "ok", "refused" (412; `seen` is what the answer said is there, None where it
    said nothing is) or "missing" (404 of a delete). Times in seconds of a clock that all clients
    share.
    """

    kind: Kind
    invoked: float
    response: float | None
    value: str | None = None
    expected: str | None = None
    outcome: Literal["ok", "refused", "missing"] = "ok"
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
        return outcome == self.outcome and (outcome != "refused" or self.seen == state), after


class TooHardError(Exception):
    """The search was given up: too many operations overlap, or have no answer."""


def is_linearizable(
    history: Sequence[Operation], initial: str | None = None, *, steps: int = 2_000_000
) -> bool:
    """Tell whether there is such an order of the operations on one tag.

    TooHardError after so many `steps`: each operation without an answer doubles the work.
    """
    # A read without an answer says nothing and changes nothing.
    told = [each for each in history if each.kind != "read" or each.response is not None]
    operations = sorted(told, key=lambda each: each.invoked)
    ends = [math.inf if each.response is None else each.response for each in operations]
    answered = sum(1 << number for number, end in enumerate(ends) if end < math.inf)
    tried: set[tuple[int, str | None]] = set()
    stack: list[tuple[int, int, str | None]] = [(0, 0, initial)]
    while stack:
        done, first, state = stack.pop()
        if done & answered == answered:
            return True
        while done >> first & 1:
            first += 1
        # Whatever comes next began before the first answer among those that are left.
        horizon = math.inf
        candidates = []
        for number in range(first, len(operations)):
            if operations[number].invoked > horizon:
                break
            if not done >> number & 1:
                candidates.append(number)
                horizon = min(horizon, ends[number])
        for number in candidates:
            if operations[number].invoked > horizon:
                continue
            possible, after = operations[number].apply(state)
            key = (done | 1 << number, after)
            if possible and key not in tried:
                if len(tried) == steps:
                    raise TooHardError(f"gave up on {len(operations)} operations")
                tried.add(key)
                stack.append((key[0], first, after))
    return False
