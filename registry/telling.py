"""The composition root's part for webhooks: what is told to them, and by whom."""

import contextlib
import logging
from collections.abc import AsyncIterator
from ipaddress import ip_network
from pathlib import Path

from registry.auditing import audited
from registry.backend import Backend
from registry.background import beside, repeated
from registry.config import Config
from registry.http.webhooks import HttpSender
from registry.service.audit.journal import Journal
from registry.service.projects.events import log_event
from registry.service.projects.tenancy import Tenancy
from registry.service.webhooks.deliverer import Deliverer, Deliveries, DeliveryTerms
from registry.service.webhooks.outbox import Outbox
from registry.service.webhooks.queue import DeliveryQueue
from registry.service.webhooks.subscriptions import Subscriptions
from registry.spec.destinations import Destinations

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
async def audited_command(config: Config, backend: Backend) -> AsyncIterator[Journal | None]:
    """Open the audit log for a command that works on the store; ``None`` where there is none.

    Webhooks are told of what it writes there, by the registries that serve the store.
    """
    async with audited(config, backend.store) as journal:
        if journal is not None and config.webhooks.enabled:
            journal.accompany_by(outbox(config, subscriptions(config, backend)))
        yield journal


@contextlib.asynccontextmanager
async def sending(config: Config, backend: Backend) -> AsyncIterator[HttpSender]:
    """Make what sends; its connections are closed at the end."""
    hooks = config.webhooks
    sender = HttpSender(
        destinations(config),
        ca_file=Path(hooks.ca_file) if hooks.ca_file else None,
        seconds=hooks.timeout_seconds,
        traces=backend.traces("webhook"),
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
    async with sending(config, backend) as send:
        deliverer = Deliverer(
            backend.store, backend.coordinator, tenancy.webhooks.queue, send, told, terms
        )
        delivering = repeated(
            "webhooks.deliver",
            deliverer.deliver,
            hooks.interval_seconds,
            _log,
            "events were not delivered",
        )
        async with beside(delivering):
            yield
