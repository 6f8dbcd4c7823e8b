"""The audit log: who did what, for owners of a project and for administrators."""

from datetime import UTC, datetime
from typing import Annotated

from msgspec import Meta

from auth.policy import Verb
from registry.http.management.inputs import Limit, Nothing, OfProject
from registry.http.management.route import Call, Reply, Route
from registry.http.management.views import AuditEventView, AuditPage
from registry.service.audit.log import CURSOR, PAGE, Kept

Cursor = Annotated[
    str,
    Meta(
        max_length=64,
        pattern=rf"^({CURSOR})?\Z",
        description="Where the page begins: `next` of the one before it, an event's `cursor`, or a "
        "Unix time in milliseconds.",
        examples=["1764100000000"],
    ),
]


class ProjectAudit(OfProject, frozen=True, kw_only=True):
    """Which events of a project are asked for."""

    limit: Limit = PAGE
    after: Cursor = ""


class RegistryAudit(Nothing, frozen=True, kw_only=True):
    """Which other events are asked for."""

    id: Annotated[
        str,
        Meta(
            max_length=128,
            pattern=r"^([a-z0-9][a-z0-9._-]*)?\Z",
            description="Id of a project, also of one that was removed; without it, events that "
            "are about none.",
        ),
    ] = ""
    limit: Limit = PAGE
    after: Cursor = ""


async def project_audit(call: Call[ProjectAudit, None]) -> Reply:
    """List the events of a project, the oldest first."""
    return await _page(call, call.tenant.id)


async def registry_audit(call: Call[RegistryAudit, None]) -> Reply:
    """List the events that are about no project, or those of one by its id."""
    return await _page(call, call.input.id)


async def _page(call: Call[ProjectAudit, None] | Call[RegistryAudit, None], tenant: str) -> Reply:
    leaf = await call.managed.audit.page(tenant, call.input.after, call.input.limit)
    after = leaf.items[-1].cursor if leaf.more and leaf.items else ""
    items = tuple(map(event_view, leaf.items))
    return Reply(AuditPage(items=items, next=after or None), after=after)


def event_view(kept: Kept) -> AuditEventView:
    """Describe an event."""
    entry = kept.entry
    return AuditEventView(
        time=datetime.fromtimestamp(round(entry.time, 3), UTC),
        action=entry.action,
        result=entry.result,
        principal=entry.principal,
        address=entry.address,
        request_id=entry.request_id,
        credential=entry.credential,
        project=entry.project,
        repository=entry.repository,
        subject=entry.subject,
        details=dict(entry.details),
        writer=entry.writer,
        number=entry.n,
        hash=kept.digest,
        cursor=kept.cursor,
    )


ROUTES = (
    Route.of(
        "GET /projects/{project}/audit",
        "audit.project",
        Verb.ADMINISTER,
        "List what happened in a project",
        project_audit,
        ProjectAudit,
        AuditPage,
    ),
    Route.of(
        "GET /audit",
        "audit.registry",
        Verb.GOVERN,
        "List what happened outside projects, or in one that is gone",
        registry_audit,
        RegistryAudit,
        AuditPage,
    ),
)
