"""The composition root's part for webhooks: what is told to them, and by whom."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from ipaddress import ip_network
from pathlib import Path

from registry.backend import Backend
from registry.config import Config
from registry.http.webhooks import HttpSender
from registry.service.projects.events import log_event
from registry.service.projects.tenancy import Tenancy
from registry.service.webhooks.deliverer import Deliverer, Deliveries, DeliveryTerms
from registry.service.webhooks.outbox import Outbox
from registry.service.webhooks.queue import DeliveryQueue
from registry.service.webhooks.subscriptions import Subscriptions
from registry.spec.destinations import Destinations
from storage.coordination import CoordinationUnavailable, LeaseHeld
from storage.ports import StorageError

_log = logging.getLogger("moorage.webhooks")


def destinations(config: Config) -> Destinations:
    """Return where webhooks may lead."""
    networks = tuple(map(ip_network, config.webhooks.allow_networks))
    return Destinations(networks, config.webhooks.allow_http)


def outbox(config: Config, webhooks: Subscriptions) -> Outbox:
    """Make what writes events into the queues of webhooks."""
    return Outbox(webhooks, webhooks.queue, config.server.public_url)


def subscriptions(config: Config, backend: Backend) -> Subscriptions:
    """Return the webhooks of a store that is not served here, to be read."""
    store, coordinator = backend.store, backend.coordinator
    return Subscriptions(
        store, coordinator, None, log_event, DeliveryQueue(store), destinations(config)
    )


@contextlib.asynccontextmanager
async def sending(config: Config) -> AsyncIterator[HttpSender]:
    """Make what sends; its connections are closed at the end."""
    hooks = config.webhooks
    sender = HttpSender(
        destinations(config),
        ca_file=Path(hooks.ca_file) if hooks.ca_file else None,
        seconds=hooks.timeout_seconds,
    )
    try:
        yield sender
    finally:
        await sender.close()


@contextlib.asynccontextmanager
async def telling(
    config: Config, backend: Backend, tenancy: Tenancy | None, told: Deliveries, *, first: bool
) -> AsyncIterator[None]:
    """In the ``first`` worker, deliver what is due while this is entered."""
    hooks = config.webhooks
    if tenancy is None or not hooks.enabled or not first:
        yield
        return
    terms = DeliveryTerms(
        hooks.retry_seconds,
        hooks.give_up_seconds,
        hooks.dead_days * 86_400,
        hooks.interval_seconds,
        hooks.concurrency,
    )
    async with sending(config) as send:
        deliverer = Deliverer(
            backend.store, backend.coordinator, tenancy.webhooks.queue, send, told, terms
        )
        task = asyncio.create_task(_deliver(deliverer, hooks.interval_seconds))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def _deliver(deliverer: Deliverer, interval: float) -> None:
    """Deliver for ever. What fails is logged, and tried again."""
    while True:
        await asyncio.sleep(interval)
        try:
            await deliverer.deliver()
        except LeaseHeld:
            pass
        except (StorageError, CoordinationUnavailable) as error:
            _log.warning("events could not be delivered, they will be: %s", error)
        except Exception:  # noqa: BLE001  a defect is logged whole, and does not end it
            _log.exception("events could not be delivered")
