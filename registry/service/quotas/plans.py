"""What a process's next change of an account would be: worked out, with nobody asked."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from registry.service.quotas.terms import QuotaTerms
from registry.spec import quota
from registry.spec.errors import QuotaExceeded
from registry.spec.quota import NOTHING, Account, Amounts


@dataclass(eq=False, slots=True)
class Need:
    """What a request waits for: so much, and ``extra`` if that fits too. Until ``until``."""

    amounts: Amounts
    extra: Amounts
    until: float
    done: "asyncio.Future[Amounts]"
    granted: Amounts | None = None
    generation: int = 0


@dataclass(slots=True)
class Position:
    """What a process has of an account, as whom, and what it has not settled yet.

    Of what is ``held`` its requests have ``reserved`` some, and have ``stored`` some. ``forced``
    was stored beyond that. ``removed``: with the round that was seen before. Until ``good``, by the
    terms' pace, a write may begin of what is reserved.
    """

    who: str
    held: Amounts = NOTHING
    reserved: Amounts = NOTHING
    stored: Amounts = NOTHING
    forced: Amounts = NOTHING
    removed: list[tuple[Amounts, int]] = field(default_factory=list)
    good: float = float("-inf")

    @property
    def free(self) -> Amounts:
        """What may be reserved without a change of the account."""
        return self.held - self.reserved - self.stored


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a change is made for, beside those that wait.

    To ``settle``; to give back all that is free, to ``close``, or where nobody has ``asked`` for
    some since it was last settled.
    """

    settle: bool
    close: bool
    asked: bool


@dataclass(slots=True)
class Plan:
    """What a swap would do: the account after it, and what becomes of who waits.

    ``write``: whether it is worth one. ``stored``, ``removed`` and ``forced`` are settled with it.
    """

    account: Account
    who: str
    held: Amounts
    reserved: Amounts
    stored: Amounts
    removed: int
    forced: Amounts
    good: float
    settles: bool
    serial: int = 0
    write: bool = False
    granted: list[tuple[Need, Amounts]] = field(default_factory=list)
    refused: list[tuple[Need, QuotaExceeded]] = field(default_factory=list)
    waiting: bool = False

    @property
    def free(self) -> Amounts:
        """What is held and not reserved."""
        return self.held - self.reserved

    @property
    def total(self) -> Amounts:
        """All that is granted."""
        total = NOTHING
        for _, amounts in self.granted:
            total += amounts
        return total

    def see_to(self, need: Need, now: float, pace: float, terms: QuotaTerms) -> None:
        """Grant what is needed, with the extra or without; else let it wait, or refuse it."""
        for wanted in (need.amounts + need.extra, need.amounts):
            short = wanted.beyond(self.free)
            if not short or self.take(short, now + terms.life):
                self.reserved += wanted
                self.granted.append((need, wanted))
                return
        account = self.account
        others = any(
            who != self.who and share.until >= now for who, share in account.shares.items()
        )
        if others and pace < need.until:
            self.waiting = True
            pressed = now + terms.patience
            if account.pressed < pressed - 1:
                self.account = msgspec.structs.replace(account, pressed=pressed)
                self.write = True
            return
        kind = account.lacking(need.amounts.beyond(self.free))
        # What is free of the own share is left as well.
        left = max(0, (account.left(kind) or 0) + int(getattr(self.free, kind)))
        most, wanted_of = getattr(account.limits, kind), getattr(need.amounts, kind)
        self.refused.append((need, QuotaExceeded(kind, most, left, wanted_of)))

    def take(self, amounts: Amounts, until: float) -> bool:
        """Add so much to the share; ``False`` where it does not fit."""
        taken = quota.take(self.account, self.who, amounts, until) if amounts else self.account
        if taken is None:
            return False
        self.account = taken
        self.held += amounts
        self.write |= bool(amounts)
        return True


def planned(
    account: Account,
    mine: Position,
    waiting: Sequence[Need],
    wishes: Wishes,
    terms: QuotaTerms,
    serial: int,
) -> Plan:
    """Say what is to become of the account as it was read, and of those that wait.

    ``serial``: the number of the change, if it is worth one.
    """
    now, pace = terms.clock(), terms.pace()
    until = now + terms.life
    pressed = account.pressed >= now
    returned = NOTHING
    if wishes.close or pressed or (wishes.settle and not wishes.asked):
        returned = mine.free
    account = quota.charge(account, mine.forced) if mine.forced else account
    settled = quota.settle(account, mine.who, mine.stored, returned)
    for seen, amounts in _by_round(mine.removed).items():
        settled = quota.give_back(settled or account, amounts, seen)
    plan = Plan(
        settled or account,
        mine.who,
        mine.held - mine.stored - returned,
        mine.reserved,
        mine.stored,
        len(mine.removed),
        mine.forced,
        pace + terms.life,
        wishes.settle,
    )
    late = mine.held and mine.good - pace < terms.life / 2
    plan.write = bool(mine.forced or mine.stored or returned or mine.removed or late)
    for need in waiting:
        plan.see_to(need, now, pace, terms)
    if plan.granted and plan.write and not (plan.waiting or pressed or wishes.close):
        plan.take(quota.spare(plan.account), until)
    if plan.write:
        plan.serial = serial
        plan.account = quota.sign(plan.account, mine.who, serial, now, until)
    return plan


def _by_round(removed: Sequence[tuple[Amounts, int]]) -> dict[int, Amounts]:
    sums: dict[int, Amounts] = {}
    for amounts, seen in removed:
        sums[seen] = sums.get(seen, NOTHING) + amounts
    return sums
