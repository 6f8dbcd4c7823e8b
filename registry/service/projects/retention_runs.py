"""Runs retention for every project that has it, one repository after the other."""

import logging
from collections.abc import AsyncIterator, Callable
from typing import Final

from auth.access import Tenant
from registry.service.failures import FAILURES
from registry.service.listing import every_key
from registry.service.projects.kept import Records
from registry.service.projects.retention import RetentionRecord
from registry.service.retention import Expired, Retainer
from registry.service.throttle import Throttle
from registry.spec.names import Place
from registry.spec.problems import Invalid
from storage import keys
from storage.coordination import Coordinator
from storage.ports import ObjectStore

_log = logging.getLogger("moorage.retention")

LEASE: Final = "retention"

Told = Callable[[Tenant, str, Expired], None]
"""Told of each repository of which something was deleted, by its name."""


class RetentionRuns:
    """Runs retention. Any number may: none relies on being alone."""

    def __init__(
        self,
        store: ObjectStore,
        coordinator: Coordinator,
        retainer: Retainer,
        told: Told,
        *,
        per_second: float,
    ) -> None:
        """Read and delete ``per_second`` things; 0: any number."""
        self._store = store
        self._coordinator = coordinator
        self._retainer = retainer
        self._told = told
        self._throttle = Throttle(per_second)
        self._records = Records(store, RetentionRecord)

    async def run(self) -> int:
        """See to every project; return how many repositories could not be seen to.

        ``LeaseHeld`` where another is at it. What is broken off goes on behind the last repository
        that was done.
        """
        failed = 0
        async with self._coordinator.hold(LEASE):
            async for key in every_key(self._store, keys.RETAINED):
                tenant = keys.last_segment(key)
                found = await self._records.find(keys.retention(tenant))
                if found is None:
                    continue
                failed += await self._project(key, Tenant(tenant, found.record.project))
        return failed

    async def _project(self, key: str, tenant: Tenant) -> int:
        failed = 0
        done = (await self._store.get(key)).data.decode()
        async for place in self._places(tenant.id, done):
            failed += not await self._repository(tenant, place)
            await self._store.put(key, place.encode(), durable=False)
        await self._store.put(key, b"")
        return failed

    async def _repository(self, tenant: Tenant, place: Place) -> bool:
        """See to a repository, by the rules as they are now; return whether that went well."""
        name = tenant.name + place[len(tenant.id) :]
        try:
            found = await self._records.find(keys.retention(tenant.id))
            if found is None:
                return True
            more = True
            while more:
                done = await self._retainer.run(
                    place, name, found.record.retention, pace=self._throttle.wait
                )
                self._told(tenant, name, done)
                more = done.more and bool(done.tags or done.manifests)
        except (*FAILURES, Invalid) as error:
            _log.warning("retention of %s did not end, it will: %s", name, error)
            return False
        return True

    async def _places(self, tenant: str, done: str) -> AsyncIterator[Place]:
        """The project's repositories behind the one that was done last."""
        if not done:
            yield Place(tenant)
        after = keys.catalog(Place(done)) if "/" in done else ""
        async for key in every_key(self._store, keys.cataloged(tenant), after):
            yield keys.catalog_place(key)
