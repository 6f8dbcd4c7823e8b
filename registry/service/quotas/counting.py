"""Counting what projects with limits hold, and making that what is used, while clients push."""

import asyncio
import logging
import secrets
from bisect import bisect
from collections import Counter
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Mapping,
    Sequence,
)
from dataclasses import dataclass
from typing import Final

from registry.service.bounded import batches, each
from registry.service.failures import FAILURES
from registry.service.listing import every_key
from registry.service.quotas.accounts import Accounts
from registry.service.quotas.tally import Tally
from registry.service.quotas.terms import QuotaTerms
from registry.spec import quota
from registry.spec.quota import Account
from storage import keys
from storage.coordination import Coordinator
from storage.ports import ObjectStore

_log = logging.getLogger("moorage.quotas")

TOGETHER: Final = 32
"""Projects that are counted with one look at all upload sessions: only these tell whose they are.

While one is counted, what is removed from it is not given back. So there are not too many.
"""

_LEASE: Final = "quota-count"
_POLL: Final = 0.1
_AT_ONCE: Final = 8

Failed = Callable[[str, Exception], None]
"""Is told of a project that could not be counted, and why. What it raises ends the count."""


@dataclass(frozen=True, slots=True)
class Counted:
    """What a count has found: the account after it, and how much it differed from before.

    ``drift`` is in bytes: less than 0 where less was there than was counted.
    """

    account: Account
    drift: int


def _raised(_tenant: str, error: Exception) -> None:
    raise error


class Counting:
    """Counts. Any number may count one project: only the one that began last comes to something."""

    def __init__(
        self,
        store: ObjectStore,
        coordinator: Coordinator,
        accounts: Accounts,
        settle: Callable[[str], Awaitable[None]],
        terms: QuotaTerms,
    ) -> None:
        """``settle`` writes down what this process has stored in a project."""
        self._store = store
        self._coordinator = coordinator
        self._accounts = accounts
        self._settle = settle
        self._terms = terms
        self._tally = Tally(store)
        self.counts: Counter[str] = Counter()
        """Counts by what came of them: ``ok``, ``again`` (another began), ``failed``."""
        self.drift = 0
        """Bytes by which counts have found accounts wrong, whichever way."""
        self.fill: Mapping[str, int] = {}
        """Projects with limits by how much of one is used, as ``count_due`` last saw them."""

    async def of(self, tenant: str) -> Counted | None:
        """Count one project; as ``all_of``, and ``None`` where that has nothing of it."""
        return (await self._together([tenant], _raised)).get(tenant)

    async def all_of(
        self, tenants: Sequence[str], failed: Failed
    ) -> AsyncIterator[tuple[str, Counted]]:
        """Count what projects hold, and make that what is used, while others push.

        Those without limits are left out, and those of which another count began meanwhile. A
        crash leaves an account as it was, but nothing is given back until the next count.
        """
        for batch in batches(tenants, TOGETHER):
            for found in (await self._together(batch, failed)).items():
                yield found

    async def _together(self, tenants: Iterable[str], failed: Failed) -> Mapping[str, Counted]:
        nonce = secrets.token_hex(8)
        listing: dict[str, Account] = {}
        found: dict[str, Counted] = {}

        async def begin(tenant: str) -> None:
            try:
                account = await self._begin(tenant, nonce)
            except FAILURES as error:
                failed(tenant, error)
                return
            if account is not None:
                listing[tenant] = account

        await each(tenants, begin, at_once=_AT_ONCE)
        # Sessions first, and then what they become: of one that ends meanwhile one is seen.
        sessions = await self._tally.sessions(listing)
        # None waits for one that holds much more.
        for tenant in sorted(listing, key=lambda name: listing[name].used.bytes):
            try:
                counted = await self._end(tenant, nonce, listing[tenant], sessions[tenant])
            except FAILURES as error:
                failed(tenant, error)
                continue
            if counted is not None:
                found[tenant] = counted
        return found

    async def _begin(self, tenant: str, nonce: str) -> Account | None:
        """Have everybody settle what they have stored, as far as they do so in time.

        Return the account, of which the listing has begun; ``None`` as ``all_of``.
        """
        terms = self._terms
        begun = await self._accounts.change(
            tenant, lambda account: quota.begin_count(account, nonce, terms.clock())
        )
        until = terms.pace() + terms.patience
        while begun is not None and quota.unsettled(begun, terms.clock()):
            await self._settle(tenant)
            if terms.pace() > until:
                break
            await asyncio.sleep(_POLL)
            found = await self._accounts.read(tenant)
            begun = found[0] if found else None
        listing = await self._accounts.change(
            tenant, lambda account: quota.begin_list(account, nonce, terms.clock(), terms.margin)
        )
        if listing is None:
            self.counts["again"] += 1
        return listing

    async def _end(
        self, tenant: str, nonce: str, listing: Account, sessions: int
    ) -> Counted | None:
        tallied = await self._tally.of(tenant, sessions)
        before = 0

        def end(account: Account) -> Account | None:
            nonlocal before
            before = account.total.bytes
            now = self._terms.clock()
            return quota.end_count(account, nonce, tallied.amounts, tallied.physical, now)

        ended = await self._accounts.change(tenant, end)
        if ended is None:
            self.counts["again"] += 1
            return None
        drift = ended.total.bytes - before if listing.counted is not None else 0
        self.counts["ok"] += 1
        self.drift += abs(drift)
        return Counted(ended, drift)

    async def tenants(self) -> list[str]:
        """The ids of all projects that have limits."""
        return [keys.last_segment(key) async for key in every_key(self._store, keys.QUOTAS)]

    async def count_due(self) -> int:
        """Count every project that is due; return how many. What fails is told, and done again.

        ``LeaseHeld`` where another process does so.
        """
        fill, due = Counter(dict.fromkeys(FILLS, 0)), []
        for tenant in await self.tenants():
            account = await self._read(tenant)
            if account is None:
                continue
            fill[fill_of(account)] += 1
            if self._is_due(account):
                due.append(tenant)
        self.fill = fill
        if not due:
            return 0
        done = 0
        async with self._coordinator.hold(_LEASE):
            for batch in batches(due, TOGETHER):
                accounts = {tenant: await self._read(tenant) for tenant in batch}
                still = [name for name, found in accounts.items() if found and self._is_due(found)]
                done += len(await self._together(still, self._failed))
        return done

    async def _read(self, tenant: str) -> Account | None:
        """The account; ``None`` for none, and for one that can't be read, which is told."""
        try:
            found = await self._accounts.read(tenant)
        except FAILURES as error:
            self._failed(tenant, error)
            return None
        return found[0] if found is not None else None

    def _failed(self, tenant: str, error: Exception) -> None:
        self.counts["failed"] += 1
        _log.warning("project %s could not be counted, it will be: %s", tenant, error)

    def _is_due(self, account: Account) -> bool:
        terms, now = self._terms, self._terms.clock()
        if account.count is not None and now - account.count.began < terms.again:
            return False
        if account.counted is None:
            return True
        over = any(
            share.held and share.until + terms.margin < now for share in account.shares.values()
        )
        since = now - account.counted
        return over or since > terms.every or (account.due and since > terms.again)


FILLS: Final = ("0-50", "50-80", "80-95", "95-100")
"""Percent of the limit of which most is used."""


def fill_of(account: Account) -> str:
    """Which of ``FILLS`` the account is in."""
    total, most = account.total, 0
    for kind in quota.KINDS:
        limit = getattr(account.limits, kind)
        if limit is not None:
            most = max(most, int(getattr(total, kind)) * 100 // max(1, limit))
    return FILLS[bisect((50, 80, 95), most)]
