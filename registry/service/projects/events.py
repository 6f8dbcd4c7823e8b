"""What happened to projects, members and accounts: told once it is done."""

import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from enum import StrEnum

import msgspec

from auth.access import Tenant
from auth.identity import Identity

_log = logging.getLogger("moorage.projects")


class EventKind(StrEnum):
    """The closed list of what can happen."""

    PROJECT_CREATED = "project.created"
    PROJECT_CHANGED = "project.changed"
    PROJECT_REMOVED = "project.removed"
    PROJECT_PURGED = "project.purged"
    QUOTA_SET = "quota.set"
    MEMBER_PUT = "member.put"
    MEMBER_REMOVED = "member.removed"
    ROBOT_PUT = "robot.put"
    ROBOT_ROTATED = "robot.rotated"
    ROBOT_REMOVED = "robot.removed"
    RETENTION_PUT = "retention.put"
    TAG_RULES_PUT = "tag-rules.put"
    SHARE_PUT = "share.put"
    SHARE_REMOVED = "share.removed"
    WEBHOOK_PUT = "webhook.put"
    WEBHOOK_REMOVED = "webhook.removed"
    ACCOUNT_CREATED = "account.created"
    ACCOUNT_CHANGED = "account.changed"
    ACCOUNT_REMOVED = "account.removed"
    PASSWORD_SET = "account.password"  # noqa: S105 -- a name
    TOKEN_CREATED = "token.created"  # noqa: S105 -- a name
    TOKEN_REMOVED = "token.removed"  # noqa: S105 -- a name


class Event(msgspec.Struct, frozen=True, omit_defaults=True):
    """One change that was made. No secret is ever part of one.

    ``by`` is the name of who did it, ``subject`` what it was done to (a principal, a repository, a
    robot); ``project`` and ``tenant`` are the project's name and id, empty for what is about none.
    ``details`` says what it is now.
    """

    kind: EventKind
    by: str
    at: float
    subject: str = ""
    project: str = ""
    tenant: str = ""
    details: Mapping[str, str] = {}


Events = Callable[[Event], Awaitable[None]]
"""Told of each event, after the change; what it raises is raised to whoever made the change."""


async def log_event(event: Event) -> None:
    """Write an event into the log: where nothing else is done with it."""
    _log.info(
        "%s by %s: %s%s %s",
        event.kind,
        event.by,
        f"project {event.project} " if event.project else "",
        event.subject,
        " ".join(f"{key}={value}" for key, value in event.details.items()),
    )


def event(
    kind: EventKind,
    by: Identity,
    subject: str = "",
    tenant: Tenant | None = None,
    /,
    **details: object,
) -> Event:
    """Make an event of this moment. Details that are ``None`` are left out."""
    told = {key: str(value) for key, value in details.items() if value is not None}
    project, number = (tenant.name, tenant.id) if tenant else ("", "")
    return Event(kind, by.name, time.time(), subject, project, number, told)
