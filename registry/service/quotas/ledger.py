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
from typing import Final

from registry.service.quotas.accounts import Accounts
from registry.service.quotas.plans import Need, Plan, Position, Wishes, planned
from registry.service.quotas.terms import QuotaTerms
from registry.spec import quota
from registry.spec.quota import NOTHING, Account, Amounts
from storage.ports import PreconditionFailed

_PAUSE: Final = 0.2
"""Seconds between two looks for what others have given back."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.002, 0.1

Tell = Callable[[str], None]
"""Is told of each swap: ``ok``, ``lost`` or ``failed``."""


class Ledger:
    """What this process may still store in one project, and what it has not settled yet."""

    def __init__(self, accounts: Accounts, tenant: str, terms: QuotaTerms, tell: Tell) -> None:
        self._accounts = accounts
        self._tenant = tenant
        self._terms = terms
        self._tell = tell
        self._account: Account | None = None
        self._version = ""
        self._waiting: list[Need] = []
        self._working: asyncio.Task[None] | None = None
        self._woken = asyncio.Event()
        self._settling = False
        self._closing = False
        self._asked = False
        self.users = 0
        """Requests that have a charge."""
        self._serial = 0
        self._tried: dict[int, Plan] = {}
        """Swaps that are under way, or that got no answer: nothing is given from memory then."""
        self.generation = 1
        """Changes when the share is gone; what was reserved from it is void then."""
        self._mine = Position(secrets.token_hex(8))

    def _begin_anew(self) -> None:
        before = self._mine
        self._mine = Position(secrets.token_hex(8), forced=before.forced, removed=before.removed)
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
        busy = self.users or self._mine.held or self._waiting or working
        return not (busy or self._mine.removed or self._mine.forced)

    def good(self, generation: int) -> bool:
        """Whether a write may begin now of what was reserved in this generation."""
        return generation == self.generation and self._terms.pace() < self._mine.good

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
                if self._mine.free.covers(wanted):
                    self._mine.reserved += wanted
                    return wanted
        until = self._terms.pace() + (self._terms.patience if patient else 0.0)
        need = Need(amounts, extra, until, asyncio.get_running_loop().create_future())
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
        if not self._free_now or not self._mine.free.covers(amounts):
            return False
        self._asked = True
        self._mine.reserved += amounts
        return True

    def release(self, generation: int, amounts: Amounts) -> None:
        """Give back what was reserved and not stored."""
        if generation == self.generation:
            self._mine.reserved -= amounts

    def stored(self, generation: int, amounts: Amounts) -> None:
        """What was reserved has been stored, or may have been.

        From a share that was given up meanwhile it counts as long as that does, or was listed.
        """
        if generation == self.generation:
            self._mine.reserved -= amounts
            self._mine.stored += amounts

    def force(self, amounts: Amounts) -> None:
        """Something was stored that may not be paid for: it is, whether it fits or not."""
        self._mine.forced += amounts
        self._wake()

    def removed(self, amounts: Amounts, seen: int) -> None:
        """Something was removed, after the account's round was ``seen``."""
        self._mine.removed.append((amounts, seen))

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
        return not self._tried and self._terms.pace() < self._mine.good

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
        while self._settling or self._waiting or self._mine.forced:
            self._woken.clear()
            try:
                if self._account is None:
                    await self._load()
                    fresh = True
                plan = self._planned()
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
        share = account.shares.get(self._mine.who)
        if share is not None:
            made = self._tried.get(share.serial)
            self._tried.clear()
            if made is not None:
                self._keep(made)
        elif self._mine.held or self._tried:
            self._mine.forced += self._mine.stored
            self._begin_anew()
        if found is None:
            self._mine.forced = NOTHING
            self._mine.removed.clear()
        self._account, self._version = account, version

    def _planned(self) -> Plan:
        assert self._account is not None  # noqa: S101  loaded just before
        wishes = Wishes(self._settling, self._closing, self._asked)
        plan = planned(
            self._account, self._mine, self._waiting, wishes, self._terms, self._serial + 1
        )
        if plan.write:
            self._serial = plan.serial
        return plan

    async def _apply(self, plan: Plan) -> None:
        """Make the swap, if it is worth one, and tell those that wait."""
        if plan.write and self._version:
            self._tried[plan.serial] = plan
            version = await self._accounts.swap(self._tenant, plan.account, self._version)
            self._tried.clear()
            self._tell("ok")
            self._account, self._version = plan.account, version
        elif not self._version:
            plan.held = self._mine.held + plan.total
        self._keep(plan)
        for need, error in plan.refused:
            if not need.done.done():
                need.done.set_exception(error)
        self._waiting = [need for need in self._waiting if not need.done.done()]

    def _keep(self, plan: Plan) -> None:
        """Keep in mind what a swap did. What was released or stored meanwhile comes on top."""
        if plan.write or not self._version:
            self._mine.good = plan.good
        self._mine.held = plan.held
        self._mine.stored -= plan.stored
        self._mine.forced -= plan.forced
        del self._mine.removed[: plan.removed]
        if plan.settles:
            self._settling = self._asked = False
        for need, amounts in plan.granted:
            if not need.done.done():
                self._mine.reserved += amounts
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
