"""The audit log: who did what, for owners of a project and for administrators."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from fnmatch import translate
from typing import Annotated, Final, Literal

from msgspec import Meta

from auth.policy import Verb
from registry.http.management.inputs import Limit, Nothing, ProjectName
from registry.http.management.route import Call, Reply, Route
from registry.http.management.views import AuditEventView, AuditPage
from registry.service.audit.chain import Entry
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


_LOOKED_AT: Final = 10 * PAGE
"""Events that are looked through for one page of those that are asked for."""


class Chosen(Nothing, frozen=True, kw_only=True):
    """Which events are asked for: all, or those that are like this."""

    limit: Limit = PAGE
    after: Cursor = ""
    action: Annotated[
        str,
        Meta(
            max_length=64,
            pattern=r"^([a-z*][a-z.*-]*)?\Z",
            description="Of this action only; `*` stands for any text.",
            examples=["tag.*"],
        ),
    ] = ""
    principal: Annotated[
        str, Meta(max_length=300, description="By this principal only.", examples=["user:alice"])
    ] = ""
    result: Annotated[
        Literal["", "done", "denied", "failed", "unknown"],
        Meta(description="With this result only."),
    ] = ""

    @property
    def everything(self) -> bool:
        """Whether any event will do."""
        return not (self.action or self.principal or self.result)

    def chooser(self) -> Callable[[Entry], bool]:
        """Return what tells whether an event is asked for."""
        # Not ``fnmatchcase``: that keeps 32,768 patterns, and these are of the clients' choice.
        action = re.compile(translate(self.action or "*")).match

        def fits(entry: Entry) -> bool:
            return (
                action(entry.action) is not None
                and self.principal in ("", entry.principal)
                and self.result in ("", entry.result)
            )

        return fits


class ProjectAudit(Chosen, frozen=True, kw_only=True):
    """Which events of a project are asked for."""

    project: ProjectName


class RegistryAudit(Chosen, frozen=True, kw_only=True):
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


async def project_audit(call: Call[ProjectAudit, None]) -> Reply:
    """List the events of a project, the oldest first."""
    return await _page(call, call.tenant.id)


async def registry_audit(call: Call[RegistryAudit, None]) -> Reply:
    """List the events that are about no project, or those of one by its id."""
    return await _page(call, call.input.id)


async def _page(call: Call[ProjectAudit, None] | Call[RegistryAudit, None], tenant: str) -> Reply:
    asked, log = call.input, call.managed.audit
    found: list[Kept] = []
    fits = asked.chooser()
    after, looked_at = asked.after, 0
    while True:
        leaf = await log.page(tenant, after, asked.limit if asked.everything else PAGE)
        for kept in leaf.items:
            after = kept.cursor
            if fits(kept.entry):
                found.append(kept)
                if len(found) == asked.limit:
                    break
        looked_at += len(leaf.items)
        more = leaf.more or bool(leaf.items and after != leaf.items[-1].cursor)
        if not more or len(found) == asked.limit or looked_at >= _LOOKED_AT:
            break
    page = AuditPage(items=tuple(map(event_view, found)), next=(after or None) if more else None)
    return Reply(page, after=page.next or "")


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
