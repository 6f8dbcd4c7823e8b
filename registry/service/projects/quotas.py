"""Quotas of projects: set by administrators, and told."""

import asyncio
from contextlib import suppress
from typing import Final

from auth.access import Tenant
from auth.identity import Identity
from registry.service.failures import FAILURES
from registry.service.projects.events import EventKind, Events, event
from registry.service.quotas.quotas import Quotas
from registry.spec.quota import Account, Limits

_PATIENCE: Final = 10.0
"""Seconds for which the first count of a project is waited for."""


class ProjectQuotas:
    """Tells and sets what projects may hold."""

    def __init__(self, quotas: Quotas, events: Events) -> None:
        """Tell ``events`` of each change."""
        self._quotas = quotas
        self._events = events

    async def get(self, tenant: Tenant) -> Account | None:
        """Return what the project may hold, and what it holds; ``None``: it has no limits."""
        return await self._quotas.find(tenant.id)

    async def set(
        self, tenant: Tenant, limits: Limits, by: Identity, version: str | None = None
    ) -> Account | None:
        """Set what the project may hold; return its account. ``Changed`` by ``version``.

        Without any limit it has no account. What it holds is counted if that was not known yet;
        where that takes too long, it is counted in the background. Repeating it is harmless.
        """
        account = await self._quotas.limit(tenant.id, limits, version)
        if account is not None and account.counted is None:
            with suppress(TimeoutError, *FAILURES):
                async with asyncio.timeout(_PATIENCE):
                    counted = await self._quotas.counting.of(tenant.id)
                    account = counted.account if counted is not None else account
        await self._events(
            event(
                EventKind.QUOTA_SET,
                by,
                tenant.name,
                tenant,
                bytes=limits.bytes,
                repositories=limits.repositories,
                tags=limits.tags,
            )
        )
        return account
