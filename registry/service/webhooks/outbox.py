"""What happens becomes deliveries: written in one step with the audit log's own batch.

So an event that the audit log has is in the queues of those who want it: neither can be without
the other, and a push pays for neither. A project without a webhook costs a look into memory for
each batch.
"""

import logging
from collections.abc import Sequence
from typing import Final

from registry.service.audit.events import AuditEvent
from registry.service.projects.kept import Kept
from registry.service.webhooks.cloudevents import TOLD, cloud_event, wanted
from registry.service.webhooks.queue import EVENTS, DeliveryQueue
from registry.service.webhooks.records import DeliveryRecord, TellRecord, WebhookRecord
from registry.service.webhooks.subscriptions import Subscriptions
from storage import keys
from storage.ports import Items

_log = logging.getLogger("moorage.webhooks")

REGISTRY: Final = ""
"""Stands for the id of a project where a webhook is for all of them."""


class Outbox:
    """Makes deliveries of events."""

    def __init__(
        self, subscriptions: Subscriptions, queue: DeliveryQueue, source: str = "moorage"
    ) -> None:
        """Tell those who subscribed; ``source`` is who tells, as a URI (CloudEvents §3.1)."""
        self._subscriptions = subscriptions
        self._queue = queue
        self._source = source or "moorage"

    async def __call__(self, events: Sequence[tuple[str, AuditEvent]]) -> Items:
        """Return what is to be written, for events with their numbers. ``StorageError``."""
        tenants: dict[str, list[tuple[str, AuditEvent]]] = {}
        for number, event in events:
            if event.action in TOLD:
                tenants.setdefault(event.tenant, []).append((number, event))
        if not tenants:
            return []
        items: list[tuple[str, bytes]] = []
        for tenant, some in tenants.items():
            if tenant != REGISTRY:
                items += await self._for(tenant, some)
        items += await self._for(REGISTRY, [each for some in tenants.values() for each in some])
        return items

    async def _for(self, tenant: str, events: Sequence[tuple[str, AuditEvent]]) -> Items:
        found: list[tuple[str, bytes]] = []
        for webhook in await self._subscriptions.of(tenant):
            try:
                found += self._items(tenant, webhook, events)
            except Exception:  # noqa: BLE001 -- a defect must not keep the audit log waiting
                _log.exception("events for the webhook %s could not be made", webhook.record.id)
        return found

    def _items(
        self,
        tenant: str,
        webhook: Kept[WebhookRecord],
        events: Sequence[tuple[str, AuditEvent]],
    ) -> Items:
        hook, now = webhook.record, self._queue.clock()
        if not hook.active:
            return []
        told = [
            TellRecord(
                number,
                event.action,
                cloud_event(event, number, self._source, hook.project).decode(),
            )
            for number, event in events
            if wanted(hook.events, event.action)
        ]
        name = keys.last_segment(webhook.key)
        parts = [tuple(told[first : first + EVENTS]) for first in range(0, len(told), EVENTS)]
        return [
            # A millisecond apart: keys of one are in no order.
            self._queue.item(hook.id, DeliveryRecord(tenant, name, now, part), now + number / 1000)
            for number, part in enumerate(parts)
        ]
