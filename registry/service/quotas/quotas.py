"""Quotas: the limits of projects, set and kept."""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Final

from registry.service.presence import exists
from registry.service.quotas.accounts import Accounts
from registry.service.quotas.charges import NO_CHARGE, Charge, ProjectCharge
from registry.service.quotas.counting import Counting
from registry.service.quotas.ledger import Ledger
from registry.service.quotas.terms import QUOTA_TERMS, QuotaTerms
from registry.service.remembered import Remembered
from registry.spec import quota
from registry.spec.errors import QuotaExceeded, shown_amount
from registry.spec.problems import Changed
from registry.spec.quota import Account, Limits
from storage import keys
from storage.coordination import Coordinator
from storage.ports import AlreadyExists, ObjectStore

_log = logging.getLogger("moorage.quotas")

_MEMORY: Final = 4 * 1024 * 1024


class Quotas:
    """Lets requests store what fits, and counts it. One for all projects of a process."""

    def __init__(
        self,
        store: ObjectStore,
        coordinator: Coordinator,
        *,
        enabled: bool = True,
        terms: QuotaTerms = QUOTA_TERMS,
    ) -> None:
        """``enabled``: whether there are projects, so that they may have limits."""
        self._store = store
        self._coordinator = coordinator
        self._enabled = enabled
        self._terms = terms
        self._accounts = Accounts(store)
        self._ledgers: dict[str, Ledger] = {}
        self._limited: Remembered[bool] = Remembered(coordinator, _MEMORY, lambda _: 100)
        self.swaps: Counter[str] = Counter()
        """Changes of accounts by what came of them: ``ok``, ``lost`` to another, ``failed``."""
        self.refused: Counter[str] = Counter()
        """Requests that were refused, by the kind of which too little was left."""
        self.counting = Counting(store, coordinator, self._accounts, self._settle_of, terms)

    @asynccontextmanager
    async def charging(self, tenant: str) -> AsyncIterator[Charge]:
        """Store something in a project inside; give back what was reserved and not used.

        Where the project has no limits, that costs the look at one stamp.
        """
        charge = await self.charge(tenant)
        try:
            yield charge
        except QuotaExceeded as error:
            self.refused[error.kind] += 1
            raise
        finally:
            charge.close()

    async def charge(self, tenant: str) -> Charge:
        """Return a charge of the project; who asks closes it."""
        if not (tenant and self._enabled and await self._is_limited(tenant)):
            return NO_CHARGE
        return ProjectCharge(self._ledger(tenant), self._terms)

    def warning(self, tenant: str) -> str:
        """What who has just pushed is told where little is left; ``""`` otherwise."""
        ledger = self._ledgers.get(tenant)
        account = ledger.account if ledger is not None else None
        return warning_of(account) if account is not None else ""

    async def find(self, tenant: str) -> Account | None:
        """The project's account as it is now; ``None`` for one without limits."""
        await self._settle_of(tenant)
        found = await self._accounts.read(tenant)
        return found[0] if found is not None else None

    async def begin(self, tenant: str, limits: Limits, *, empty: bool = True) -> None:
        """Give limits to a project that is made, unless it has some; ``empty``: holding nothing.

        An empty one that gets none is known to have none: nobody else knows of it yet.
        """
        if limits:
            counted = self._terms.clock() if empty else None
            with suppress(AlreadyExists):
                await self._accounts.create(tenant, Account(limits, counted=counted))
        elif empty:
            await self._limited.made(_name(tenant), _unlimited)

    async def limit(self, tenant: str, limits: Limits, version: str | None) -> Account | None:
        """Set the project's limits; without any, its account goes. Return the account.

        ``Changed`` where the limits are not those of ``version``; ``None``: whatever they are;
        ``""``: only if there are none. What is stored stays, also where it is more than that. A
        project that had no limits is ``due`` to be counted, and nothing is refused before.
        """
        async with self._coordinator.change(_name(tenant)):
            while True:
                found = await self._accounts.read(tenant)
                if version is not None and version != version_of(found[0] if found else None):
                    raise Changed
                if not limits:
                    if found is not None:
                        await self._accounts.remove(tenant, found[1])
                    return None
                if found is None:
                    try:
                        account = Account(limits, due=True)
                        await self._accounts.create(tenant, account)
                    except AlreadyExists:
                        continue
                    return account
                changed = await self._accounts.change(
                    tenant, lambda account: quota.limit(account, limits)
                )
                if changed is not None:
                    return changed

    async def forget(self, tenant: str) -> None:
        """Remove the account of a project that is no more."""
        async with self._coordinator.change(_name(tenant)):
            await self._accounts.remove(tenant)

    async def run(self) -> None:
        """Settle what is stored, and renew shares, for ever. What fails is done again."""
        while True:
            await asyncio.sleep(self._terms.settle)
            await self.settle()

    async def settle(self, *, close: bool = False) -> None:
        """Settle what this process has stored; to ``close``, give back all that it holds."""
        ledgers = list(self._ledgers.items())
        results = await asyncio.gather(
            *(ledger.settle(close=close) for _, ledger in ledgers), return_exceptions=True
        )
        for (tenant, ledger), result in zip(ledgers, results, strict=True):
            if isinstance(result, Exception):
                _log.warning("the account of project %s can't be settled: %s", tenant, result)
            elif ledger.idle:
                self._ledgers.pop(tenant, None)

    async def _settle_of(self, tenant: str) -> None:
        if tenant in self._ledgers:
            await self._ledgers[tenant].settle()

    def _ledger(self, tenant: str) -> Ledger:
        ledger = self._ledgers.get(tenant)
        if ledger is None:
            ledger = Ledger(self._accounts, tenant, self._terms, self._tell)
            self._ledgers[tenant] = ledger
        return ledger

    def _tell(self, outcome: str) -> None:
        self.swaps[outcome] += 1

    async def _is_limited(self, tenant: str) -> bool:
        look = partial(exists, self._store, keys.quota(tenant))
        return await self._limited.get(_name(tenant), look)


async def _unlimited() -> bool:
    return False


def warning_of(account: Account) -> str:
    """Say how little is left of the first quota of which that is worth a warning; else ``""``."""
    if account.limits.warn_percent >= 100:
        return ""
    total = account.total
    for kind in quota.KINDS:
        most, used = getattr(account.limits, kind), int(getattr(total, kind))
        if most is not None and used * 100 >= most * account.limits.warn_percent:
            left = shown_amount(kind, max(0, most - used), number_only=True)
            return (
                f"{used * 100 // max(1, most)}% of the project's quota of "
                f"{shown_amount(kind, most)} are used: {left} left"
            )
    return ""


def version_of(account: Account | None) -> str:
    """The version of the limits, ``""`` where there are none."""
    return str(account.edition) if account is not None else ""


def _name(tenant: str) -> str:
    return f"quota/{tenant}"
