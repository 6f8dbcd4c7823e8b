"""What the audit log tells of."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from enum import StrEnum
from typing import Final, Self

import msgspec

from registry.service.projects.events import Event, EventKind

MAX_TEXT: Final = 300
"""Most characters of a text that a client chose; more are cut."""

MAX_DETAILS: Final = 16


class Happening(StrEnum):
    """What can happen beside what ``EventKind`` lists. The two together are a closed list."""

    LOGIN_SUCCEEDED = "login.succeeded"
    LOGIN_FAILED = "login.failed"
    ACCESS_DENIED = "access.denied"
    TOKEN_ISSUED = "token.issued"  # noqa: S105 -- a name
    BLOB_PUSHED = "blob.pushed"
    BLOB_MOUNTED = "blob.mounted"
    BLOB_DELETED = "blob.deleted"
    UPLOAD_CANCELLED = "upload.cancelled"
    MANIFEST_PUSHED = "manifest.pushed"
    TAG_PUSHED = "tag.pushed"
    MANIFEST_DELETED = "manifest.deleted"
    MANIFEST_UNDELETED = "manifest.undeleted"
    REPOSITORY_DELETED = "repository.deleted"
    REPOSITORY_UNDELETED = "repository.undeleted"
    TAG_ROLLED_BACK = "tag.rolled-back"
    TAG_EXPIRED = "tag.expired"
    MANIFEST_EXPIRED = "manifest.expired"
    TAG_DELETED = "tag.deleted"
    CONTENT_COLLECTED = "content.collected"
    CONTENT_DAMAGED = "content.damaged"
    PLATFORM_TOLD = "platform.told"
    BACKUP_CREATED = "backup.created"
    BACKUP_REMOVED = "backup.removed"
    BACKUP_RESTORED = "backup.restored"
    CONTENT_IMPORTED = "content.imported"
    KEYS_ROTATED = "keys.rotated"
    KEYS_REVOKED = "keys.revoked"
    CHANGE_BROKEN = "change.broken"
    EVENTS_DROPPED = "events.dropped"


ACTIONS: Final[frozenset[str]] = frozenset(
    {*(each.value for each in EventKind), *(each.value for each in Happening)}
)

CHEAP: Final[frozenset[str]] = frozenset(
    {
        Happening.LOGIN_SUCCEEDED,
        Happening.LOGIN_FAILED,
        Happening.ACCESS_DENIED,
        Happening.TOKEN_ISSUED,
    }
)
"""What anybody can cause as often as they like, and what changes nothing that is stored."""


class Result(StrEnum):
    """How it ended."""

    DONE = "done"
    DENIED = "denied"
    FAILED = "failed"
    UNKNOWN = "unknown"
    """It broke off: whether it took effect is not known."""


_RESULTS: Final[Mapping[str, Result]] = {
    Happening.ACCESS_DENIED: Result.DENIED,
    Happening.LOGIN_FAILED: Result.FAILED,
    Happening.CHANGE_BROKEN: Result.UNKNOWN,
}


class Origin(msgspec.Struct, frozen=True):
    """Who asks for a change, and from where. ``address`` is the client's, behind the proxies."""

    principal: str
    address: str = ""
    request_id: str = ""
    credential: str = ""


BACKGROUND: Final = Origin("system")
"""Nobody asked: the registry does it by itself."""

COLLECTOR: Final = Origin("system:collector")
SCRUBBER: Final = Origin("system:scrubber")
COMMAND: Final = Origin("system:command")
"""Somebody who has the store's credentials, at a command line: who, the registry can't know."""

_origin: ContextVar[Origin] = ContextVar("origin", default=BACKGROUND)


@contextmanager
def asked_by(origin: Origin) -> Iterator[None]:
    """Tell of what is done inside that ``origin`` asked for it."""
    token = _origin.set(origin)
    try:
        yield
    finally:
        _origin.reset(token)


class AuditEvent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that happened. No secret is ever part of one.

    ``time`` is in Unix seconds. ``principal`` is who did it, or for a failed login who it wanted to
    be; ``credential`` names what it showed. ``subject`` is what it was done to: a digest, a tag, a
    principal, a robot. ``project`` and ``tenant`` are the project's name and id, empty where it is
    about none; it is kept with that project's events.
    """

    time: float
    action: str
    result: Result = Result.DONE
    principal: str = ""
    address: str = ""
    request_id: str = ""
    credential: str = ""
    project: str = ""
    tenant: str = ""
    repository: str = ""
    subject: str = ""
    details: Mapping[str, str] = {}

    @classmethod
    def of(
        cls,
        time: float,
        action: str,
        origin: Origin | None = None,
        *,
        project: str = "",
        tenant: str = "",
        repository: str = "",
        subject: object = "",
        **details: object,
    ) -> Self:
        """Make one, by default of who asked for what is going on. ``None`` in details is left out.

        Long texts are cut, so that no client makes an event large.
        """
        who = _origin.get() if origin is None else origin
        told = [(key, _cut(value)) for key, value in details.items() if value is not None]
        return cls(
            time=time,
            action=action,
            result=_RESULTS.get(action, Result.DONE),
            principal=_cut(who.principal),
            address=_cut(who.address),
            request_id=who.request_id,
            credential=_cut(who.credential),
            project=_cut(project),
            tenant=tenant,
            repository=_cut(repository),
            subject=_cut(subject),
            details=dict(told[:MAX_DETAILS]),
        )

    @classmethod
    def told(cls, event: Event) -> Self:
        """Make one of what a service tells of projects, members and accounts."""
        asked = _origin.get()
        return cls.of(
            event.at,
            event.kind.value,
            msgspec.structs.replace(asked, principal=event.by),
            project=event.project,
            tenant=event.tenant,
            subject=event.subject,
            **event.details,
        )


def _cut(value: object) -> str:
    text = str(value)
    return text if len(text) <= MAX_TEXT else f"{text[: MAX_TEXT - 1]}…"
