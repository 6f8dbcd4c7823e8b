"""Who wants to be told what: webhooks of projects, and of the registry as a whole."""

import logging
import re
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from auth.access import Tenant
from auth.identity import Identity
from registry.service.projects.events import EventKind, Events, event
from registry.service.projects.kept import Kept, Leaf, Records, check_version
from registry.service.projects.names import robot_name
from registry.service.projects.projects import Projects
from registry.service.projects.secrets import SecretKind, mint
from registry.service.records import Corrupt
from registry.service.remembered import Remembered
from registry.service.webhooks.cloudevents import TOLD, wanted
from registry.service.webhooks.queue import Delivery, DeliveryQueue
from registry.service.webhooks.records import WebhookRecord
from registry.spec.destinations import DestinationRefused, Destinations
from registry.spec.problems import DeliveryUnknown, Invalid, ProjectsOff, TooMany, WebhookUnknown
from storage import keys
from storage.coordination import Coordinator
from storage.ports import ObjectStore

_log = logging.getLogger("moorage.webhooks")

MAX_WEBHOOKS: Final = 20
"""Most webhooks of one project, and of the registry."""

MAX_PATTERNS: Final = 32
MIN_SECRET: Final = 16
MAX_SECRET: Final = 256

_PATTERN: Final = re.compile(r"[a-z.*?-]{1,64}", re.ASCII).fullmatch


@dataclass(frozen=True, slots=True)
class Webhook:
    """A webhook; never its secret."""

    name: str
    url: str
    events: tuple[str, ...]
    active: bool
    by: str
    at: float
    version: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """A webhook as it is to be. ``secret`` is empty: as it is, or a new one where there is none."""

    url: str
    events: tuple[str, ...] = ("*",)
    active: bool = True
    secret: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class PutWebhook:
    """A webhook that was put; whether it is new; the secret that was made for it, shown once."""

    webhook: Webhook
    fresh: bool
    secret: str | None = field(default=None, repr=False)


class Subscriptions:
    """Keeps webhooks. A tenant with the id ``""`` stands for the registry as a whole."""

    def __init__(
        self,
        store: ObjectStore,
        coordinator: Coordinator,
        projects: Projects | None,
        events: Events,
        queue: DeliveryQueue,
        destinations: Destinations,
        memory: int = 1 << 20,
    ) -> None:
        """Let webhooks lead to ``destinations`` only. Remember up to ``memory`` bytes.

        Without ``projects``, those of projects are read, and only those of the registry changed.
        """
        self.queue = queue
        self._coordinator = coordinator
        self._projects = projects
        self._events = events
        self._destinations = destinations
        self._records = Records(store, WebhookRecord)
        self._store = store
        self._known: Remembered[tuple[Kept[WebhookRecord], ...]] = Remembered(
            coordinator, memory, lambda found: 100 + sum(len(e.record.encode()) for e in found)
        )

    async def of(self, tenant: str) -> Sequence[Kept[WebhookRecord]]:
        """Return all webhooks of a project; from memory, while none has changed."""
        return await self._known.get(_stamp(tenant), lambda: self._load(tenant))

    async def _load(self, tenant: str) -> tuple[Kept[WebhookRecord], ...]:
        found = []
        for key in await self._store.list(keys.webhooks(tenant), limit=MAX_WEBHOOKS * 2):
            try:
                kept = await self._records.find(key)
            except Corrupt as error:  # it must not keep the audit log waiting
                _log.warning("the webhook %s can't be read: %s", keys.last_segment(key), error)
                continue
            if kept is not None:
                found.append(kept)
        return tuple(found)

    async def page(self, tenant: Tenant, after: str, limit: int) -> Leaf[Webhook]:
        """Return webhooks after the name ``after``."""
        first = keys.webhook(tenant.id, after) if after else ""
        leaf = await self._records.page(keys.webhooks(tenant.id), first, limit)
        return Leaf(list(map(_webhook, leaf.items)), leaf.more)

    async def get(self, tenant: Tenant, name: str) -> Webhook:
        """Return a webhook; ``WebhookUnknown``."""
        return _webhook(await self.find(tenant, name))

    async def find(self, tenant: Tenant, name: str) -> Kept[WebhookRecord]:
        """Return what is kept of a webhook; ``WebhookUnknown``."""
        found = await self._records.find(keys.webhook(tenant.id, _named(name)))
        if found is None:
            raise WebhookUnknown(name)
        return found

    async def put(
        self, tenant: Tenant, name: str, wanted: Wanted, by: Identity, version: str | None = None
    ) -> PutWebhook:
        """Make a webhook, or change one; events from the next one on are told by it.

        ``Invalid``, ``TooMany``, ``ProjectUnknown``; ``Changed`` by ``version``.
        """
        name = _named(name)
        _check(wanted)
        try:
            host = self._destinations.check(wanted.url)
        except DestinationRefused as error:
            raise Invalid(f"nothing is sent to this URL: {error}") from None
        key, shown = keys.webhook(tenant.id, name), None
        async with self._changing(tenant):
            standing = await self._records.find(key)
            check_version(standing, version)
            secret = wanted.secret or (standing.record.secret if standing else "")
            if not secret:
                secret, _ = mint(SecretKind.WEBHOOK)
                shown = secret
            if standing is None:
                limit = MAX_WEBHOOKS
                if await self._records.count(keys.webhooks(tenant.id), limit) == limit:
                    raise TooMany("webhooks", limit)
            number = standing.record.id if standing else secrets.token_hex(8)
            record = WebhookRecord(
                number,
                wanted.url,
                secret,
                wanted.events,
                wanted.active,
                tenant.name,
                by.name,
                time.time(),
            )
            kept = await self._records.write(key, record, standing)
        told = {"host": host, "events": " ".join(wanted.events), "active": wanted.active}
        await self._tell(EventKind.WEBHOOK_PUT, by, tenant, name, **told)
        return PutWebhook(_webhook(kept), standing is None, shown)

    async def remove(
        self, tenant: Tenant, name: str, by: Identity, version: str | None = None
    ) -> None:
        """End a webhook, with what waits for it and its dead letters. ``WebhookUnknown``."""
        async with self._changing(tenant):
            standing = await self.find(tenant, name)
            check_version(standing, version)
            await self._records.remove(standing)
        await self.queue.forget(standing.record.id)
        await self._tell(EventKind.WEBHOOK_REMOVED, by, tenant, name)

    async def forget(self, tenant: str) -> int:
        """Remove all webhooks of a project that is gone; return how many objects went."""
        count = 0
        async with self._coordinator.change(_stamp(tenant)):
            for kept in await self._load(tenant):
                count += 1 + await self.queue.forget(kept.record.id)
            for key in await self._store.list(keys.webhooks(tenant)):
                await self._store.delete(key)
        return count

    async def deliveries(
        self, tenant: Tenant, name: str, after: str, limit: int, *, dead: bool
    ) -> Leaf[Delivery]:
        """Return what waits for a webhook, or its dead letters; ``WebhookUnknown``."""
        kept = await self.find(tenant, name)
        return await self.queue.page(kept.record.id, after, limit, dead=dead)

    async def redeliver(self, tenant: Tenant, name: str, numbers: Sequence[str]) -> int:
        """Have dead letters due again, none named: all of them. Return how many.

        ``WebhookUnknown``, ``DeliveryUnknown``: what was named before it is due all the same.
        """
        kept = await self.find(tenant, name)
        count = 0
        if not numbers:
            async for number in self.queue.dead(kept.record.id):
                count += await self.queue.revive(kept.record.id, number)
        for number in numbers:
            if not keys.is_event_number(number) or not await self.queue.revive(
                kept.record.id, number
            ):
                raise DeliveryUnknown(number)
            count += 1
        return count

    @asynccontextmanager
    async def _changing(self, tenant: Tenant) -> AsyncIterator[None]:
        async with self._coordinator.change(_stamp(tenant.id)):
            if tenant.id:
                if self._projects is None:
                    raise ProjectsOff
                await self._projects.get(tenant)  # it may be gone meanwhile
            yield

    async def _tell(
        self, kind: EventKind, by: Identity, tenant: Tenant, name: str, **details: object
    ) -> None:
        whose = tenant if tenant.id else None
        await self._events(event(kind, by, name, whose, **details))


def _stamp(tenant: str) -> str:
    return f"webhooks/{tenant}"


def _named(name: str) -> str:
    try:
        return robot_name(name)
    except Invalid:
        raise Invalid(
            f"{name[:80]!a} can be no webhook's name: use up to 63 lower-case letters and digits, "
            "joined by single . _ -"
        ) from None


def _check(wanted_: Wanted) -> None:
    if not 0 < len(wanted_.events) <= MAX_PATTERNS:
        raise Invalid(f"name 1 to {MAX_PATTERNS} events or patterns of events")
    for pattern in wanted_.events:
        if _PATTERN(pattern) is None or not any(wanted([pattern], action) for action in TOLD):
            raise Invalid(
                f"{pattern[:80]!a} is no event, and no pattern of any: use for example "
                "manifest.pushed, tag.* or *"
            )
    secret = wanted_.secret
    if secret and not (MIN_SECRET <= len(secret) <= MAX_SECRET and secret.isascii()):
        raise Invalid(f"a secret has {MIN_SECRET} to {MAX_SECRET} ASCII characters")


def _webhook(kept: Kept[WebhookRecord]) -> Webhook:
    record = kept.record
    name = keys.last_segment(kept.key)
    return Webhook(
        name, record.url, record.events, record.active, record.by, record.at, kept.version
    )
