"""One process's part in the account of one project.

It takes a share of what is left by compare-and-swap and gives parts of it to its requests from
memory. Requests that come while a swap is under way wait for the next one, all for the same. What
was stored, and what was removed, is settled with it, or every few seconds.
"""

import asyncio
import random
import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

import msgspec

from registry.service.quotas.accounts import Accounts
from registry.service.quotas.terms import QuotaTerms
from registry.spec import quota
from registry.spec.errors import QuotaExceeded
from registry.spec.quota import NOTHING, Account, Amounts
from storage.ports import PreconditionFailed

_PAUSE: Final = 0.2
"""Seconds between two looks for what others have given back."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.002, 0.1

Tell = Callable[[str], None]
"""Is told of each swap: ``ok``, ``lost`` or ``failed``."""


@dataclass(eq=False, slots=True)
class _Need:
    """What a request waits for: so much, and ``extra`` if that fits too. Until ``until``."""

    amounts: Amounts
    extra: Amounts
    until: float
    done: "asyncio.Future[Amounts]"
    granted: Amounts | None = None
    generation: int = 0


@dataclass(slots=True)
class _Plan:
    """What a swap would do: the account after it, and what becomes of who waits.

    ``write``: whether it is worth one. ``stored``, ``removed`` and ``forced`` are settled with it.
    """

    account: Account
    held: Amounts
    reserved: Amounts
    stored: Amounts
    removed: int
    forced: Amounts
    good: float
    settles: bool
    serial: int = 0
    write: bool = False
    granted: list[tuple[_Need, Amounts]] = field(default_factory=list)
    refused: list[tuple[_Need, QuotaExceeded]] = field(default_factory=list)
    waiting: bool = False

    @property
    def free(self) -> Amounts:
        return self.held - self.reserved


class Ledger:
    """What this process may still store in one project, and what it has not settled yet."""

    def __init__(self, accounts: Accounts, tenant: str, terms: QuotaTerms, tell: Tell) -> None:
        self._accounts = accounts
        self._tenant = tenant
        self._terms = terms
        self._tell = tell
        self._account: Account | None = None
        self._version = ""
        self._waiting: list[_Need] = []
        self._removed: list[tuple[Amounts, int]] = []
        self._working: asyncio.Task[None] | None = None
        self._woken = asyncio.Event()
        self._settling = False
        self._closing = False
        self._asked = False
        self.users = 0
        """Requests that have a charge."""
        self._forced = NOTHING
        self._serial = 0
        self._tried: dict[int, _Plan] = {}
        """Swaps that are under way, or that got no answer: nothing is given from memory then."""
        self.generation = 0
        """Changes when the share is gone; what was reserved from it is void then."""
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._who = secrets.token_hex(8)
        self._held = self._reserved = self._stored = NOTHING
        self._good = float("-inf")
        self._tried.clear()
        self.generation += 1

    @property
    def account(self) -> Account | None:
        """The account as it was when this process last saw it."""
        return self._account

    @property
    def idle(self) -> bool:
        """Whether nobody uses it, nothing is held, nor left to be settled."""
        working = self._working is not None and not self._working.done()
        busy = self.users or self._held or self._waiting or working
        return not (busy or self._removed or self._forced)

    def good(self, generation: int) -> bool:
        """Whether a write may begin now of what was reserved in this generation."""
        return generation == self.generation and self._terms.pace() < self._good

    async def look(self) -> Account | None:
        """The account; read from the store if this process has not seen it yet."""
        if self._account is None:
            self._settling = True
            self._wake()
            await self._worked_off()
        return self._account

    async def reserve(
        self, amounts: Amounts, extra: Amounts = NOTHING, *, patient: bool = True
    ) -> Amounts:
        """Reserve so much, and ``extra`` if it is there; return what was reserved.

        ``QuotaExceeded`` where it does not fit; who is ``patient`` waits for what others give back.
        ``Unavailable`` where the account can't be read or changed.
        """
        self._asked = True
        whole = amounts + extra
        if self._free_now:
            for wanted in (whole, amounts):
                if self._free.covers(wanted):
                    self._reserved += wanted
                    return wanted
        until = self._terms.pace() + (self._terms.patience if patient else 0.0)
        need = _Need(amounts, extra, until, asyncio.get_running_loop().create_future())
        self._waiting.append(need)
        self._wake()
        try:
            return await need.done
        except asyncio.CancelledError:
            if need.granted is not None:
                self.release(need.generation, need.granted)
            raise

    def spare(self, amounts: Amounts) -> bool:
        """Reserve so much, if that is free and neither a count nor anybody in need is known of."""
        account = self._account
        if account is None or account.count is not None or account.pressed >= self._terms.clock():
            return False
        if not self._free_now or not self._free.covers(amounts):
            return False
        self._asked = True
        self._reserved += amounts
        return True

    def release(self, generation: int, amounts: Amounts) -> None:
        """Give back what was reserved and not stored."""
        if generation == self.generation:
            self._reserved -= amounts

    def stored(self, generation: int, amounts: Amounts) -> None:
        """What was reserved has been stored, or may have been.

        From a share that was given up meanwhile it counts as long as that does, or was listed.
        """
        if generation == self.generation:
            self._reserved -= amounts
            self._stored += amounts

    def force(self, amounts: Amounts) -> None:
        """Something was stored that may not be paid for: it is, whether it fits or not."""
        self._forced += amounts
        self._wake()

    def removed(self, amounts: Amounts, seen: int) -> None:
        """Something was removed, after the account's round was ``seen``."""
        self._removed.append((amounts, seen))

    async def settle(self, *, close: bool = False) -> None:
        """Settle, renew the share, give back what is not needed; all of it, to ``close``."""
        self._closing |= close
        if self.idle:
            return
        self._settling = True
        self._wake()
        await self._worked_off()

    @property
    def _free_now(self) -> bool:
        """Whether what is free may be given from memory."""
        return not self._tried and self._terms.pace() < self._good

    @property
    def _free(self) -> Amounts:
        return self._held - self._reserved - self._stored

    def _wake(self) -> None:
        self._woken.set()
        if self._working is None or self._working.done():
            self._working = asyncio.create_task(self._work())

    async def _worked_off(self) -> None:
        if self._working is not None:
            await asyncio.shield(self._working)

    async def _work(self) -> None:
        """Swap until nobody waits any more."""
        pause, fresh = _FIRST_PAUSE, False
        while self._settling or self._waiting or self._forced:
            self._woken.clear()
            try:
                if self._account is None:
                    await self._load()
                    fresh = True
                plan = self._plan()
                if (plan.refused or plan.waiting) and not fresh:
                    # Others may have given back: nobody is refused for what was so a while ago.
                    self._account = None
                    continue
                await self._apply(plan)
            except PreconditionFailed:
                # Another's change came first; or an earlier attempt of this one, unanswered.
                self._tell("lost")
                self._account = None
                await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311  no secret
                pause = min(2 * pause, _LONGEST_PAUSE)
                continue
            except asyncio.CancelledError:
                self._fail(None)
                raise
            except BaseException as error:  # noqa: BLE001  told to all that wait
                self._fail(error)
                return
            pause, fresh = _FIRST_PAUSE, False
            if plan.waiting:
                self._account = None
                with suppress(TimeoutError):
                    async with asyncio.timeout(_PAUSE):
                        await self._woken.wait()

    async def _load(self) -> None:
        """Read the account. Without one there are no limits: what was begun under some may go on.

        Where a count has dropped the share, what was stored from it may have been listed or not.
        """
        found = await self._accounts.read(self._tenant)
        account, version = found or (Account(quota.NO_LIMITS), "")
        share = account.shares.get(self._who)
        if share is not None:
            made = self._tried.get(share.serial)
            self._tried.clear()
            if made is not None:
                self._keep(made)
        elif self._held or self._tried:
            self._forced += self._stored
            self._begin_anew()
        if found is None:
            self._forced = NOTHING
            self._removed.clear()
        self._account, self._version = account, version

    def _plan(self) -> _Plan:
        """Say what is to become of the account as it was read, and of those that wait."""
        account = self._account
        assert account is not None  # noqa: S101  loaded just before
        now, pace = self._terms.clock(), self._terms.pace()
        until = now + self._terms.life
        pressed = account.pressed >= now
        returned = NOTHING
        if self._closing or pressed or (self._settling and not self._asked):
            returned = self._free
        account = quota.charge(account, self._forced) if self._forced else account
        settled = quota.settle(account, self._who, self._stored, returned)
        for seen, amounts in _by_round(self._removed).items():
            settled = quota.give_back(settled or account, amounts, seen)
        plan = _Plan(
            settled or account,
            self._held - self._stored - returned,
            self._reserved,
            self._stored,
            len(self._removed),
            self._forced,
            pace + self._terms.life,
            self._settling,
        )
        late = self._held and self._good - pace < self._terms.life / 2
        plan.write = bool(self._forced or self._stored or returned or self._removed or late)
        for need in self._waiting:
            self._see_to(need, plan, now, until)
        if plan.granted and plan.write and not (plan.waiting or pressed or self._closing):
            self._take(plan, quota.spare(plan.account), until)
        if plan.write:
            self._serial += 1
            plan.serial = self._serial
            plan.account = quota.sign(plan.account, self._who, plan.serial, now, until)
        return plan

    def _see_to(self, need: _Need, plan: _Plan, now: float, until: float) -> None:
        """Grant what is needed, with the extra or without; else let it wait, or refuse it."""
        for wanted in (need.amounts + need.extra, need.amounts):
            if plan.free.covers(wanted) or self._take(plan, wanted.beyond(plan.free), until):
                plan.reserved += wanted
                plan.granted.append((need, wanted))
                return
        account = plan.account
        others = any(
            who != self._who and share.until >= now for who, share in account.shares.items()
        )
        if others and self._terms.pace() < need.until:
            plan.waiting = True
            pressed = now + self._terms.patience
            if account.pressed < pressed - 1:
                plan.account = msgspec.structs.replace(account, pressed=pressed)
                plan.write = True
            return
        kind = account.lacking(need.amounts.beyond(plan.free))
        # What is free of the own share is left as well.
        left = max(0, (account.left(kind) or 0) + int(getattr(plan.free, kind)))
        most, wanted = getattr(account.limits, kind), getattr(need.amounts, kind)
        plan.refused.append((need, QuotaExceeded(kind, most, left, wanted)))

    def _take(self, plan: _Plan, amounts: Amounts, until: float) -> bool:
        taken = quota.take(plan.account, self._who, amounts, until) if amounts else plan.account
        if taken is None:
            return False
        plan.account = taken
        plan.held += amounts
        plan.write |= bool(amounts)
        return True

    async def _apply(self, plan: _Plan) -> None:
        """Make the swap, if it is worth one, and tell those that wait."""
        if plan.write and self._version:
            self._tried[plan.serial] = plan
            version = await self._accounts.swap(self._tenant, plan.account, self._version)
            self._tried.clear()
            self._tell("ok")
            self._account, self._version = plan.account, version
        elif not self._version:
            plan.held = self._held + _sum(plan.granted)
        self._keep(plan)
        for need, error in plan.refused:
            if not need.done.done():
                need.done.set_exception(error)
        self._waiting = [need for need in self._waiting if not need.done.done()]

    def _keep(self, plan: _Plan) -> None:
        """Keep in mind what a swap did. What was released or stored meanwhile comes on top."""
        if plan.write or not self._version:
            self._good = plan.good
        self._held = plan.held
        self._stored -= plan.stored
        self._forced -= plan.forced
        del self._removed[: plan.removed]
        if plan.settles:
            self._settling = self._asked = False
        for need, amounts in plan.granted:
            if not need.done.done():
                self._reserved += amounts
                need.granted, need.generation = amounts, self.generation
                need.done.set_result(amounts)

    def _fail(self, error: BaseException | None) -> None:
        """Tell all that wait. What became of a swap without an answer shows at the next look."""
        self._tell("failed")
        self._account, self._settling = None, False
        for need in self._waiting:
            if need.done.done():
                continue
            if error is None:
                need.done.cancel()
            else:
                need.done.set_exception(error)
        self._waiting.clear()


def _by_round(removed: list[tuple[Amounts, int]]) -> dict[int, Amounts]:
    sums: dict[int, Amounts] = {}
    for amounts, seen in removed:
        sums[seen] = sums.get(seen, NOTHING) + amounts
    return sums


def _sum(granted: list[tuple[_Need, Amounts]]) -> Amounts:
    total = NOTHING
    for _, amounts in granted:
        total += amounts
    return total
