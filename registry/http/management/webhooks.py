"""Webhooks: of projects, and of the registry as a whole."""

import time
from collections.abc import Callable, Sequence
from typing import Annotated, Any

from msgspec import Meta

from auth.access import Tenant
from auth.policy import Verb
from registry.http.management.inputs import Nothing, OfProject, Pages, PagesOfProject
from registry.http.management.route import Call, Reply, Route, paged
from registry.http.management.views import Page, Principal, Terms, Time, View, maybe, moment
from registry.service.webhooks.cloudevents import PING, ping
from registry.service.webhooks.queue import Delivery
from registry.service.webhooks.records import TellRecord
from registry.service.webhooks.subscriptions import (
    MAX_PATTERNS,
    MAX_SECRET,
    MIN_SECRET,
    Wanted,
    Webhook,
)
from registry.spec.destinations import MAX_URL
from registry.spec.problems import (
    Changed,
    DeliveryUnknown,
    Invalid,
    ProjectsOff,
    TooMany,
    WebhookUnknown,
)

Name = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=63,
        description="Name of the webhook: lower-case letters and digits, joined by single . _ -",
        examples=["builds"],
    ),
]
Dead = Annotated[bool, Meta(description="Dead letters, not what still waits.")]


class OfWebhook(OfProject, frozen=True, kw_only=True):
    """What is asked of a webhook of a project."""

    webhook: Name


class OfRegistryWebhook(Nothing, frozen=True, kw_only=True):
    """What is asked of a webhook of the registry."""

    webhook: Name


class Deliveries(PagesOfProject, frozen=True, kw_only=True):
    """Which deliveries to a webhook of a project are asked for."""

    webhook: Name
    dead: Dead = False


class RegistryDeliveries(Pages, frozen=True, kw_only=True):
    """Which deliveries to a webhook of the registry are asked for."""

    webhook: Name
    dead: Dead = False


class WebhookView(View, frozen=True, kw_only=True):
    """A webhook; never its secret."""

    name: str
    url: str
    events: tuple[str, ...]
    active: bool
    changed: Time
    by: Principal


class WebhookPage(Page, frozen=True, kw_only=True):
    """A page of webhooks, by name."""

    items: tuple[WebhookView, ...]


class WebhookWanted(Terms, frozen=True, kw_only=True):
    """A webhook as it is to be."""

    url: Annotated[
        str,
        Meta(min_length=1, max_length=MAX_URL, examples=["https://ci.example/hooks/moorage"]),
    ]
    events: Annotated[
        tuple[Annotated[str, Meta(min_length=1, max_length=64)], ...],
        Meta(
            min_length=1,
            max_length=MAX_PATTERNS,
            description="Actions of the audit log, or globs of them.",
            examples=[["manifest.*", "tag.*"]],
        ),
    ] = ("*",)
    active: Annotated[bool, Meta(description="Whether it is told anything.")] = True
    secret: Annotated[
        str | None,
        Meta(
            description=f"What signatures are made with, {MIN_SECRET} to {MAX_SECRET} ASCII "
            "characters. Without it: as it is; a new webhook gets one."
        ),
    ] = None


class WebhookPut(View, frozen=True, kw_only=True):
    """A webhook, with its secret where one has just been made for it."""

    webhook: WebhookView
    secret: Annotated[
        str | None, Meta(description="What signatures are made with. It is shown this once.")
    ] = None


class ToldEvent(View, frozen=True, kw_only=True):
    """An event of a delivery."""

    id: Annotated[str, Meta(description="The event's id, as the receiver gets it.")]
    action: str


class DeliveryView(View, frozen=True, kw_only=True):
    """Events that a webhook has yet to take, or did not take."""

    id: str
    dead: bool
    events: tuple[ToldEvent, ...]
    queued: Time
    due: Annotated[Time, Meta(description="When it is tried; of a dead letter, when it died.")]
    attempts: Annotated[int, Meta(description="How often it has failed.")]
    tried: Time | None = None
    error: Annotated[str | None, Meta(description="Why it failed last.")] = None


class DeliveryPage(Page, frozen=True, kw_only=True):
    """A page of deliveries, by the time when they are due."""

    items: tuple[DeliveryView, ...]


class Redelivery(Terms, frozen=True, kw_only=True):
    """Which dead letters are to be sent again."""

    deliveries: Annotated[
        tuple[Annotated[str, Meta(max_length=64)], ...],
        Meta(max_length=100, description="Their ids; none: all that there are."),
    ] = ()


class Redelivered(View, frozen=True, kw_only=True):
    """How many dead letters are due again."""

    count: int


class PingBody(Terms, frozen=True, kw_only=True):
    """Nothing has to be said."""


class PingView(View, frozen=True, kw_only=True):
    """What came of a trial."""

    delivered: bool
    status: Annotated[int | None, Meta(description="HTTP status; null: there was no answer.")]
    error: str | None
    seconds: float


def _whose(call: Call[Any, Any]) -> Tenant:
    """The project; for the registry as a whole, one that has no id."""
    return call.tenant if hasattr(call.input, "project") else Tenant("", "")


async def list_webhooks(call: Call[Any, None]) -> Reply:
    """List webhooks."""
    leaf = await call.tenancy.webhooks.page(_whose(call), call.input.after, call.input.limit)
    return paged(WebhookPage, leaf, webhook_view, lambda each: each.name)


async def get_webhook(call: Call[Any, None]) -> Reply:
    """Describe a webhook."""
    found = await call.tenancy.webhooks.get(_whose(call), call.input.webhook)
    return Reply(webhook_view(found), version=found.version)


async def put_webhook(call: Call[Any, WebhookWanted]) -> Reply:
    """Make a webhook, or change one; it keeps its secret unless another is given."""
    body = call.body
    wanted = Wanted(body.url, body.events, body.active, body.secret or "")
    put = await call.tenancy.webhooks.put(
        _whose(call), call.input.webhook, wanted, call.identity, call.version()
    )
    view = WebhookPut(webhook=webhook_view(put.webhook), secret=put.secret)
    return Reply(view, 201 if put.fresh else 200, version=put.webhook.version)


async def remove_webhook(call: Call[Any, None]) -> Reply:
    """End a webhook, with what waits for it."""
    await call.tenancy.webhooks.remove(
        _whose(call), call.input.webhook, call.identity, call.version()
    )
    return Reply(status=204)


async def list_deliveries(call: Call[Any, None]) -> Reply:
    """List what a webhook has yet to take, or its dead letters."""
    asked = call.input
    leaf = await call.tenancy.webhooks.deliveries(
        _whose(call), asked.webhook, asked.after, asked.limit, dead=asked.dead
    )
    return paged(DeliveryPage, leaf, _delivery_view, lambda each: each.id)


async def redeliver(call: Call[Any, Redelivery]) -> Reply:
    """Have dead letters due again."""
    count = await call.tenancy.webhooks.redeliver(
        _whose(call), call.input.webhook, call.body.deliveries
    )
    return Reply(Redelivered(count=count), 202)


async def ping_webhook(call: Call[Any, PingBody]) -> Reply:
    """Send an event that tells of nothing, now, and say what came of it."""
    tenant, send = _whose(call), call.managed.send
    kept = await call.tenancy.webhooks.find(tenant, call.input.webhook)
    if send is None:
        raise ProjectsOff
    hook, now = kept.record, time.time()
    number = f"{PING}-{hook.id}-{int(now * 1000)}"
    body = ping(number, "moorage", now, tenant.name, call.identity.name)
    came = await send(hook.url, hook.secret, TellRecord(number, PING, body.decode()))
    return Reply(
        PingView(
            delivered=not came.error,
            status=came.status or None,
            error=came.error or None,
            seconds=round(came.seconds, 3),
        )
    )


def webhook_view(webhook: Webhook) -> WebhookView:
    """Describe a webhook."""
    return WebhookView(
        name=webhook.name,
        url=webhook.url,
        events=webhook.events,
        active=webhook.active,
        changed=moment(webhook.at),
        by=webhook.by,
    )


def _delivery_view(delivery: Delivery) -> DeliveryView:
    record = delivery.record
    return DeliveryView(
        id=delivery.id,
        dead=delivery.dead,
        events=tuple(ToldEvent(id=each.id, action=each.action) for each in record.events),
        queued=moment(record.since),
        due=moment(delivery.due),
        attempts=record.attempts,
        tried=maybe(record.tried or None),
        error=record.error or None,
    )


def _routes(
    prefix: str,
    action: str,
    whose: str,
    verb: Verb,
    pages: type[Any],
    one: type[Any],
    deliveries: type[Any],
) -> Sequence[Route]:
    def route(method: str, path: str, name: str, text: str, handler: Callable[..., Any],
              given: type[Any], answer: type[Any] | None, **more: Any) -> Route:  # fmt: skip
        asked = f"{method} {prefix}/webhooks{path}"
        return Route.of(
            asked, f"{action}.{name}", verb, f"{text} {whose}", handler, given, answer, **more
        )

    return (
        route("GET", "", "list", "List webhooks", list_webhooks, pages, WebhookPage),
        route(
            "GET", "/{webhook}", "get", "Describe a webhook", get_webhook, one, WebhookView,
            refusals=(WebhookUnknown, Invalid),
        ),
        route(
            "PUT", "/{webhook}", "put", "Make or change a webhook", put_webhook, one, WebhookPut,
            statuses=(201, 200), body=WebhookWanted, conditional=True,
            refusals=(Invalid, Changed, TooMany),
        ),
        route(
            "DELETE", "/{webhook}", "remove", "End a webhook", remove_webhook, one, None,
            statuses=(204,), conditional=True, refusals=(WebhookUnknown, Invalid, Changed),
        ),
        route(
            "POST", "/{webhook}/ping", "ping", "Try out a webhook", ping_webhook, one, PingView,
            body=PingBody, refusals=(WebhookUnknown, Invalid, ProjectsOff),
        ),
        route(
            "GET", "/{webhook}/deliveries", "deliveries", "List what waits for a webhook",
            list_deliveries, deliveries, DeliveryPage, refusals=(WebhookUnknown, Invalid),
        ),
        route(
            "POST", "/{webhook}/redeliver", "redeliver", "Send dead letters of a webhook again",
            redeliver, one, Redelivered, statuses=(202,), body=Redelivery,
            refusals=(WebhookUnknown, DeliveryUnknown, Invalid),
        ),
    )  # fmt: skip


ROUTES = (
    *_routes(
        "/projects/{project}",
        "webhook",
        "of a project",
        Verb.ADMINISTER,
        PagesOfProject,
        OfWebhook,
        Deliveries,
    ),
    *_routes(
        "",
        "registry-webhook",
        "of the registry",
        Verb.GOVERN,
        Pages,
        OfRegistryWebhook,
        RegistryDeliveries,
    ),
)
